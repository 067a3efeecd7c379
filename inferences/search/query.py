"""The query of one model's inferences: filter, order and page."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeVar

from inferences.models import Inference, RegisteredModel
from inferences.models.row_ids import moment_of
from inferences.search import cursors, planner
from inferences.search.bounded_reading import PartOfPage
from inferences.search.cursors import PagePosition, Position, Rank
from inferences.search.filters import Filter, InferenceFilter
from inferences.search.orders import KeySort, order_of
from inferences.search.pagination import (
    OFFSET_MOST,
    BadQuestion,
    Page,
    Pagination,
    Sort,
    TooDeep,
)
from inferences.search.planner import PageSlice
from inferences.search.vectors import BadEmbedding, EmbeddingFilter, nearest
from inferences.store import reading

R = TypeVar("R")
Fetch = Callable[[RegisteredModel, Sequence[int]], Sequence[R]]


@dataclass(frozen=True, slots=True)
class InferenceQuery:
    """A query of one model: the filter, the order, and the page of the result."""

    filters: Filter = field(default_factory=InferenceFilter)
    pagination: Pagination = field(default_factory=Pagination)
    presign: bool = False
    embedding: EmbeddingFilter | None = None
    # Read for the rows of the page (``answer_fields``); a cursor is not bound to them.
    fields: tuple[str, ...] = ()
    # Words that are hard to find may end a page early: the caller goes on by its cursor.
    may_stop: bool = False

    @property
    def sort(self) -> Sort | KeySort:
        """Return the order that is asked for, or the one for this query by default."""
        return self.pagination.sort or (
            "embedding_distance" if self.embedding else "created_at"
        )

    def page(self, model: RegisteredModel) -> Page[Inference]:
        """Return the page, each inference with its ``payload`` and ``source``.

        With an embedding filter each inference has an ``embedding_distance``: None if it has
        no embedding, or one without a direction. Raises ``BadQuestion`` and ``TooDeep``.
        """
        search = self._search(model)
        here, following, until = self._page_positions(model, search)
        page = reading.fetch(model, [place.row_id for place in here])
        if search:
            self._give_distances(search, page, here)
        return Page(page, following, search.way if search else None, until)

    def page_of(self, model: RegisteredModel, fetch: Fetch[R]) -> Page[R]:
        """Return the page of a query without an embedding filter, in another form.

        ``fetch`` returns rows by the model and their ids. Raises as ``page`` does.
        """
        here, following, until = self._page_positions(model, self._search(model))
        rows = fetch(model, [place.row_id for place in here])
        return Page(rows, following, None, until)

    def _page_positions(
        self, model: RegisteredModel, search: nearest.Search | None
    ) -> tuple[list[PagePosition], str | None, datetime | None]:
        """Return the positions of the page, the cursor of the next one, and where a search ended."""
        wanted = self.pagination
        if wanted.offset > OFFSET_MOST:
            raise TooDeep(f"An offset above {OFFSET_MOST:,}: use a cursor.")
        after = self._after(model)
        # One row more than the limit tells whether there is a next page.
        part = PageSlice(
            newest_first=wanted.direction == "desc",
            limit=wanted.limit + 1,
            offset=wanted.offset,
            after=after.place if after else None,
            may_stop=self.may_stop,
        )
        passed = after.passed if after else wanted.offset
        places = self._places(model, search, part, passed)
        here, more = places[: wanted.limit], places[wanted.limit :]
        if more:
            following = Position(here[-1], passed + len(here))
            return here, cursors.write(following, self._question(model)), None
        if isinstance(places, PartOfPage):
            end = Position(PagePosition(None, places.end), passed + len(here))
            following_end = cursors.write(end, self._question(model))
            return here, following_end, moment_of(places.end)
        return here, None, None

    def _search(self, model: RegisteredModel) -> nearest.Search | None:
        if self.embedding is None:
            if self.sort == "embedding_distance":
                message = "embedding_distance needs an embedding filter."
                raise BadQuestion(message, "pagination", "sort")
            return None
        try:
            return nearest.Search(model, self.embedding)
        except BadEmbedding as error:
            message, field = str(error), error.field
            raise BadQuestion(message, "embedding_filters", field) from None

    def _places(
        self,
        model: RegisteredModel,
        search: nearest.Search | None,
        part: PageSlice,
        passed: int,
    ) -> list[PagePosition]:
        if search and self.sort == "embedding_distance":
            return search.places(self.filters, part, passed)
        order = order_of(self.sort, model, self.filters)
        return planner.places(model, self.filters, order, part)

    def _give_distances(
        self,
        search: nearest.Search,
        page: Sequence[Inference],
        here: Sequence[PagePosition],
    ) -> None:
        distances: Mapping[int, Rank]
        if self.sort == "embedding_distance":
            distances = {place.row_id: place.rank for place in here}
        else:
            distances = search.distances([each.id for each in page])
        for inference in page:
            inference.embedding_distance = distances.get(inference.id)

    def _after(self, model: RegisteredModel) -> Position | None:
        cursor = self.pagination.cursor
        return cursors.read(cursor, self._question(model)) if cursor else None

    def _question(self, model: RegisteredModel) -> tuple[object, ...]:
        """Return what a cursor is bound to: model, filters and order."""
        direction = self.pagination.direction
        return model.pk, self.filters, self.embedding, self.sort, direction
