"""Why an event did not become a record; ``Reason`` has the values of ``DeadLetter.reason``."""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """The machine-readable reason of a dead letter."""

    MALFORMED_EVENT = "malformed-event"
    FOREIGN_KEY = "foreign-key"  # a storage key that is not of the event's model
    UNKNOWN_MODEL = "unknown-model"
    MISSING_BLOB = "missing-blob"
    MALFORMED_METADATA = "malformed-metadata"
    HASH_MISMATCH = "hash-mismatch"
    ID_TAKEN = "id-taken"
    REFUSED = "refused"  # by the database, or by an error of ours
    POISON = "poison"  # delivered too often without an outcome


class Rejected(Exception):
    """The event can never become a record; it becomes a dead letter with this reason."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


class Retryable(Rejected):
    """What the event needs may still come, so it is retried.

    It becomes a dead letter when its deliveries are used up.
    """
