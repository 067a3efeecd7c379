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
from inferences.search.window_sort import Ranking, positions_in_window
from inferences.web.view_models.questions import Question
from inferences.web.view_models.sorting import window_filters, window_value
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
            before, after = _by_distance(model, inference, embedding, filters)
            titles = OTHERWISE
        elif by := window_value(model, question):
            before, after = _in_window(model, inference, question, by)
            titles = OTHERWISE
        else:
            ways = _Ways(model, inference, question.pagination(1), filters)
            before, after = ways.back(), ways.on()
            titles = TITLES.get(question.sort, OTHERWISE)
    except (ValidationError, BadEmbedding, StoreError, OperationalError):
        return Neighbours()
    ids = [place.row_id for place in (*before[:1], *after[:1])]
    rows = model.inferences.filter(id__in=ids)
    names = dict(rows.values_list("id", "inference_id"))
    return Neighbours(
        names.get(before[0].row_id, "") if before else "",
        names.get(after[0].row_id, "") if after else "",
        titles,
    )


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The row ids before and after one inference in the order of a list, nearest first.

    ``is_whole`` says that they are the whole list, so that its length is known.
    """

    before: list[int]
    after: list[int]
    is_whole: bool


def surroundings(
    model: RegisteredModel, inference: Inference, question: Question, depth: int
) -> Surroundings:
    """Return at most ``depth`` neighbours to each side, as an index holds them.

    Empty where the list cannot be asked for, or finding them takes too long.
    """
    try:
        if embedding := question.embedding:
            filters = question.filters
            before, after = _by_distance(model, inference, embedding, filters)
            is_whole = len(before) + 1 + len(after) < DEPTH
        elif by := window_value(model, question):
            before, after = _in_window(model, inference, question, by)
            is_whole = False
        else:
            ways = _Ways(model, inference, question.pagination(1), question.filters)
            before, after = ways.back(depth), ways.on(depth)
            is_whole = max(len(before), len(after)) < depth and not ways.is_late
    except (ValidationError, BadEmbedding, StoreError, OperationalError):
        return Surroundings([], [], False)
    return Surroundings(
        [place.row_id for place in before[:depth]],
        [place.row_id for place in after[:depth]],
        is_whole,
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
        self.is_late = False  # whether a search was given up

    def on(self, limit: int = 1) -> list[PagePosition]:
        """Return the rows after it, nearest first."""
        return self._places(self.newest_first, self.here, limit)

    def back(self, limit: int = 1) -> list[PagePosition]:
        """Return the rows before it, nearest first.

        The order is reversed, but rows without rank come last in both directions.
        """
        found = self._places(not self.newest_first, self.here, limit)
        if self.order.is_by_time:
            return found
        if self.here.rank is not None:
            return [place for place in found if place.rank is not None]
        if left := limit - len(found):
            ranked = self._places(not self.newest_first, None, left)
            found += [place for place in ranked if place.rank is not None]
        return found

    def _places(
        self, newest_first: bool, after: PagePosition | None, limit: int
    ) -> list[PagePosition]:
        part = PageSlice(newest_first=newest_first, limit=limit, after=after)
        try:
            with statement_timeout(NEIGHBOUR_SECONDS):
                return planner.places(self.model, self.filters, self.order, part)
        except OperationalError:
            self.is_late = True
            return []


def _in_window(
    model: RegisteredModel, inference: Inference, question: Question, by: Ranking
) -> tuple[list[PagePosition], list[PagePosition]]:
    """Return the rows before and after in a window of the newest matches that is sorted by a value."""
    ids = _window(model, question, by)
    if inference.id not in ids:
        return [], []
    number = ids.index(inference.id)
    before, after = ids[:number][::-1], ids[number + 1 :]
    return [PagePosition(None, row_id) for row_id in before], [
        PagePosition(None, row_id) for row_id in after
    ]


def _window(model: RegisteredModel, question: Question, by: Ranking) -> list[int]:
    is_descending = question.pagination(1).direction == "desc"
    filters = window_filters(question)
    asked = repr((model.pk, filters, by, is_descending))
    key = f"window:{hashlib.sha256(asked.encode('utf-8', 'replace')).hexdigest()}"
    if known := best_effort_cache.recall(key):
        return list(known)
    with statement_timeout(NEIGHBOUR_SECONDS):
        positions, _ = positions_in_window(
            model, filters, by, is_descending=is_descending
        )
    ids = [each.row_id for each in positions]
    # Without an end of its own the window moves with every new inference.
    if question.query.get("until") or question.sort == "iou":
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
) -> tuple[list[PagePosition], list[PagePosition]]:
    """Return the rows before and after, nearest first, if the row is among the first ``DEPTH``.

    Both are empty for a search by text whose embedding is not cached: computing it would call
    a service.
    """
    text = embedding.text
    if text is not None and not text_embedding.is_remembered(model, text):
        return [], []
    search = Search(model, embedding)
    with statement_timeout(NEIGHBOUR_SECONDS):
        part = PageSlice(newest_first=False, limit=DEPTH)
        places = search.places(filters, part, 0)
    ids = [place.row_id for place in places]
    if inference.id not in ids:
        return [], []
    number = ids.index(inference.id)
    return places[:number][::-1], places[number + 1 :]
