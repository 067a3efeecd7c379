"""The inference event and its wire format. This module imports no app."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from typing import Any, Self

import orjson

# RFC 3339 with an offset; more than six digits of a second are rejected.
MOMENT = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?"
    r"([Zz]|[+-][0-9]{2}:[0-9]{2})",
    re.ASCII,
)


def written_moment(moment: datetime) -> str:
    """Return the moment in RFC 3339, in UTC, always with six digits: the texts sort as moments.

    Raises ValueError for a moment without a time zone.
    """
    if moment.tzinfo is None:
        raise ValueError("A moment without a time zone is no moment.")
    return moment.astimezone(UTC).isoformat(timespec="microseconds")[:-6] + "Z"


def read_moment(text: Any) -> datetime:
    """Return the moment in UTC. Raises ValueError unless it is RFC 3339 with an offset."""
    if not isinstance(text, str) or not MOMENT.fullmatch(text):
        raise ValueError(f"{text!r:.60} is not a time in RFC 3339 with an offset.")
    try:
        return datetime.fromisoformat(text.upper()).astimezone(UTC)
    except OverflowError:
        raise ValueError(f"{text!r} lies outside the calendar.") from None


@dataclass(frozen=True, slots=True)
class InferenceEvent:
    """The fact that a model was called, and the keys of the blobs.

    Everything else is in the metadata blob. ``request_id`` and ``traceparent`` travel beside the
    wire format, as fields of the stream's entry, where a listener of an older release leaves them
    alone; they tell log lines and traces which request this was.
    """

    model_id: str
    inference_id: str
    request_received_at: datetime
    request_forwarded_at: datetime
    request_responded_at: datetime
    event_published_at: datetime
    data_storage_key: str
    inference_storage_key: str
    metadata_storage_key: str
    request_id: str = field(default="", compare=False, kw_only=True)
    traceparent: str = field(default="", compare=False, kw_only=True)

    def as_dict(self) -> dict[str, str]:
        """Return the nine members of the wire format."""
        return {
            name: written_moment(value) if name in MOMENTS else value
            for name, value in ((name, getattr(self, name)) for name in NAMES)
        }

    def to_json(self) -> bytes:
        """Return the wire format."""
        return orjson.dumps(self.as_dict())

    @classmethod
    def from_dict(cls, value: Any) -> Self:
        """Return the event. Raises ValueError unless these are exactly the members, as texts."""
        if not isinstance(value, dict):
            raise ValueError("An event is a JSON object.")
        if value.keys() != NAMED:
            missing, unknown = NAMED - value.keys(), value.keys() - NAMED
            raise ValueError(
                f"missing: {sorted(missing)}; unknown: {sorted(map(str, unknown))}"
            )
        for name in NAMES:
            if not isinstance(value[name], str):
                raise ValueError(f"{name} is not a string.")
            if not value[name]:
                raise ValueError(f"{name} is empty.")
        fields: dict[str, Any] = {
            name: read_moment(text) if name in MOMENTS else text
            for name, text in value.items()
        }
        return cls(**fields)

    @classmethod
    def from_json(cls, payload: bytes) -> Self:
        """Return the event of a wire format. Raises ValueError."""
        try:
            value = orjson.loads(payload)
        except orjson.JSONDecodeError as error:
            raise ValueError(f"The event is not JSON: {error}") from None
        return cls.from_dict(value)


NAMES = tuple(field.name for field in fields(InferenceEvent) if field.compare)
NAMED = frozenset(NAMES)
MOMENTS = frozenset(name for name in NAMES if name.endswith("_at"))
