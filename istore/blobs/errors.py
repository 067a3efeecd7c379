"""Errors of a blob storage, beside ``FileNotFoundError`` for an absent object."""

from __future__ import annotations


class BlobDamaged(OSError):
    """The object store holds or sent something else than it was given."""


class PackDamaged(BlobDamaged):
    """The index of a pack does not add up, so nothing that it says can be relied on."""


class BucketAway(OSError):
    """The bucket itself is missing or refuses access, so no object can be called absent."""
