"""The page of a list that a caller asks for, the page it gets, and what cannot be asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, Literal, TypeVar

from django.conf import settings

from inferences.search.orders import KeySort

SORTS = ("created_at", "embedding_distance", "score", "label")
CURSOR_MAX_CHARS = 4_000  # a cursor may hold a label
OFFSET_MOST = 1_000_000  # an offset reads every row it skips; a cursor skips at no cost

R = TypeVar("R")
Sort = Literal["created_at", "embedding_distance", "score", "label"]


class BadQuestion(ValueError):
    """A query that cannot be answered; ``path`` names the field of the request at fault."""

    def __init__(self, message: str, *path: str) -> None:
        super().__init__(message)
        self.path = path


class BadCursor(BadQuestion):
    """A cursor that is malformed, or was given for another query."""

    def __init__(self, message: str) -> None:
        super().__init__(message, "pagination", "cursor")


class TooDeep(ValueError):
    """An offset above ``OFFSET_MOST``; a cursor may go as deep."""


@dataclass(frozen=True, slots=True)
class Pagination:
    """The order and part of a list that is asked for.

    Without a sort the order is by time, or nearest first with an embedding filter.
    """

    direction: Literal["asc", "desc"] = "asc"
    limit: int = 50
    offset: int = 0
    cursor: str | None = None
    sort: Sort | KeySort | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.limit <= settings.ISTORE_PAGE_MAX:
            raise ValueError(f"limit: from 1 to {settings.ISTORE_PAGE_MAX}.")
        if self.offset < 0:
            raise ValueError("offset: not below 0.")
        if self.cursor and self.offset:
            raise ValueError("cursor: it stands instead of an offset, not beside one.")


@dataclass(frozen=True, slots=True)
class Page(Generic[R]):
    """The inferences of a page, and the cursor of the next one, or None on the last page.

    ``vector_search`` says how the nearest were found: ``exact`` or by an ``index``. A search of
    words or side tables that took too long has ``searched_until``: the page may have fewer inferences than asked
    for, and ``next`` goes on behind that time.
    """

    inferences: Sequence[R]
    next: str | None
    vector_search: str | None = None
    searched_until: datetime | None = None
