"""Errors of a blob storage, beside ``FileNotFoundError`` for an absent object."""

from __future__ import annotations

from collections.abc import Mapping


class BlobDamaged(OSError):
    """The object store holds or sent something else than it was given."""


class PackDamaged(BlobDamaged):
    """The index of a pack does not add up, so nothing that it says can be relied on."""


class BucketAway(OSError):
    """The bucket itself is missing or refuses access, so no object can be called absent."""


class BlobsLeft(OSError):
    """Some blobs could not be deleted; all others were. ``why`` says it of each key."""

    def __init__(self, why: Mapping[str, BaseException | str]) -> None:
        self.why = dict(why)
        first, reason = min(self.why.items(), key=lambda each: each[0])
        super().__init__(
            f"{len(self.why)} blobs could not be removed: {first}: {reason}"
        )
        self.errno = getattr(reason, "errno", None)
