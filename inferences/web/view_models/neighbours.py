"""Find the inferences before and after one, in the order of the list it was opened from."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from django.core.exceptions import ValidationError
from django.db import OperationalError
from django.db.models.expressions import RawSQL

from inferences.models import Inference, RegisteredModel
from inferences.search import planner
from inferences.search.cursors import PagePosition
from inferences.search.filters import Filter
from inferences.search.orders import Order, order_of
from inferences.search.pagination import Pagination
from inferences.search.planner import PageSlice
from inferences.search.vectors import BadEmbedding, EmbeddingFilter, text_embedding
from inferences.search.vectors.nearest import DEPTH, Search
from inferences.search.window_sort import NamedValue, positions_in_window
from inferences.web.view_models.questions import Question
from inferences.web.view_models.sorting import window_value
from istore import best_effort_cache
from istore.db.statement_timeout import statement_timeout
from istore.errors import StoreError

NEIGHBOUR_SECONDS = 1.0  # timeout of each; the page is useful without neighbours too
WINDOW_SECONDS = 60  # for which the order of a window is kept: people step through it
TITLES = {"": ("Newer", "Older"), "oldest": ("Older", "Newer")}
OTHERWISE = ("Previous", "Next")


@dataclass(frozen=True, slots=True)
class Neighbours:
    """The ids of both neighbours; empty if there is none, or finding it takes too long."""

    previous: str = ""
    next: str = ""
    titles: tuple[str, str] = OTHERWISE


def neighbours(
    model: RegisteredModel, inference: Inference, question: Question
) -> Neighbours:
    """Return the neighbours of an inference in the list of a query."""
    try:
        filters = question.filters
        if embedding := question.embedding:
            previous, following = _by_distance(model, inference, embedding, filters)
            titles = OTHERWISE
        elif by := window_value(model, question):
            previous, following = _in_window(model, inference, question, by)
            titles = OTHERWISE
        else:
            sort = question.pagination(1)
            ways = _Ways(model, inference, sort, filters)
            previous, following = ways.back(), ways.on()
            titles = TITLES.get(question.sort, OTHERWISE)
    except (ValidationError, BadEmbedding, StoreError, OperationalError):
        return Neighbours()
    ids = [place.row_id for place in (previous, following) if place]
    rows = model.inferences.filter(id__in=ids)
    names = dict(rows.values_list("id", "inference_id"))
    return Neighbours(
        names.get(previous.row_id, "") if previous else "",
        names.get(following.row_id, "") if following else "",
        titles,
    )


class _Ways:
    """Finds the rows before and after one row of a sort order."""

    def __init__(
        self,
        model: RegisteredModel,
        inference: Inference,
        sorted_by: Pagination,
        filters: Filter,
    ) -> None:
        self.model, self.filters = model, filters
        self.newest_first = sorted_by.direction == "desc"
        self.order = order_of(sorted_by.sort or "created_at", model, filters)
        self.here = _place(model, inference, self.order)

    def on(self) -> PagePosition | None:
        return self._first(self.newest_first, self.here)

    def back(self) -> PagePosition | None:
        """Return the row before. The order is reversed, but rows without rank come last in both."""
        found = self._first(not self.newest_first, self.here)
        if self.order.is_by_time:
            return found
        if self.here.rank is None and found is None:
            found = self._first(not self.newest_first, None)
            return found if found and found.rank is not None else None
        is_last = found and (found.rank is None) != (self.here.rank is None)
        return None if is_last else found

    def _first(
        self, newest_first: bool, after: PagePosition | None
    ) -> PagePosition | None:
        part = PageSlice(newest_first=newest_first, limit=1, after=after)
        try:
            with statement_timeout(NEIGHBOUR_SECONDS):
                places = planner.places(self.model, self.filters, self.order, part)
        except OperationalError:
            return None
        return places[0] if places else None


def _in_window(
    model: RegisteredModel, inference: Inference, question: Question, by: NamedValue
) -> tuple[PagePosition | None, PagePosition | None]:
    """Return both neighbours in a window of the newest matches that is sorted by a value."""
    ids = _window(model, question, by)
    if inference.id not in ids:
        return None, None
    number = ids.index(inference.id)
    around = (ids[number - 1 : number], ids[number + 1 : number + 2])
    previous, following = (PagePosition(None, *one) if one else None for one in around)
    return previous, following


def _window(model: RegisteredModel, question: Question, by: NamedValue) -> list[int]:
    is_descending = question.pagination(1).direction == "desc"
    asked = repr((model.pk, question.filters, by, is_descending))
    key = f"window:{hashlib.sha256(asked.encode('utf-8', 'replace')).hexdigest()}"
    if known := best_effort_cache.recall(key):
        return list(known)
    with statement_timeout(NEIGHBOUR_SECONDS):
        positions, _ = positions_in_window(
            model, question.filters, by, is_descending=is_descending
        )
    ids = [each.row_id for each in positions]
    # Without an end of its own the window moves with every new inference.
    if question.query.get("until"):
        best_effort_cache.remember(key, ids, WINDOW_SECONDS)
    return ids


def _place(model: RegisteredModel, inference: Inference, order: Order) -> PagePosition:
    if order.is_by_time:
        return PagePosition(None, inference.id)
    rank = RawSQL(order.rank.sql, order.rank.values)
    rows = model.inferences.filter(id=inference.id).annotate(rank=rank)
    return PagePosition(rows.values_list("rank", flat=True).first(), inference.id)


def _by_distance(
    model: RegisteredModel,
    inference: Inference,
    embedding: EmbeddingFilter,
    filters: Filter,
) -> tuple[PagePosition | None, PagePosition | None]:
    """Return both neighbours by distance, if the row is among the first ``DEPTH``.

    Both are None for a search by text whose embedding is not cached: computing it would call
    a service.
    """
    text = embedding.text
    if text is not None and not text_embedding.is_remembered(model, text):
        return None, None
    search = Search(model, embedding)
    with statement_timeout(NEIGHBOUR_SECONDS):
        part = PageSlice(newest_first=False, limit=DEPTH)
        places = search.places(filters, part, 0)
    ids = [place.row_id for place in places]
    if inference.id not in ids:
        return None, None
    number = ids.index(inference.id)
    return (
        places[number - 1] if number else None,
        places[number + 1] if number + 1 < len(places) else None,
    )
