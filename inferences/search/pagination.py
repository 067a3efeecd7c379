from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from django.conf import settings

from inferences.models import Inference

SORTS = ("created_at", "embedding_distance", "score", "label")
CURSOR_MAX_CHARS = 4_000  # one may hold a label
OFFSET_MOST = 1_000_000  # every row of an offset is passed over; a cursor costs nothing

Sort = Literal["created_at", "embedding_distance", "score", "label"]


class BadQuestion(ValueError):
    """What cannot be asked, with the place in the request that says it."""

    def __init__(self, message: str, *path: str) -> None:
        super().__init__(message)
        self.path = path


class BadCursor(BadQuestion):
    """A cursor that was not given for this question."""

    def __init__(self, message: str) -> None:
        super().__init__(message, "pagination", "cursor")


class TooDeep(ValueError):
    """An offset that would cost too much. A cursor goes anywhere."""


@dataclass(frozen=True, slots=True)
class Pagination:
    """Without a sort: by time, or nearest first when there is an embedding filter."""

    direction: Literal["asc", "desc"] = "asc"
    limit: int = 50
    offset: int = 0
    cursor: str | None = None
    sort: Sort | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.limit <= settings.ISTORE_PAGE_MAX:
            raise ValueError(f"limit: from 1 to {settings.ISTORE_PAGE_MAX}.")
        if self.offset < 0:
            raise ValueError("offset: not below 0.")
        if self.cursor and self.offset:
            raise ValueError("cursor: it stands instead of an offset, not beside one.")


@dataclass(frozen=True, slots=True)
class Page:
    """``vector_search`` says how the nearest were found: ``exact`` or by an ``index``."""

    inferences: Sequence[Inference]
    next: str | None
    vector_search: str | None = None
