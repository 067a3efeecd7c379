"""What a listing of the storage tells of an object."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Stored:
    """One stored object: its key, its size in bytes, and the time of its last change."""

    key: str
    size: int
    modified_at: datetime

    @property
    def folder(self) -> str:
        """The part of the key before the last slash."""
        return self.key.rpartition("/")[0]

    @property
    def is_partial(self) -> bool:
        """Whether it is the temporary file of a put, in progress or killed."""
        name = self.key.rpartition("/")[2]
        return name.startswith(".") and name.endswith(".partial")
