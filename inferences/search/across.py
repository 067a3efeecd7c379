"""One query over all models of a project, as one list by time.

Each model answers with its own indexes, and the answers are merged: a page of fifty costs one
bounded page for each model. Ids of two models may be equal; then the model with the lower key
comes first, in both directions.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, field
from operator import itemgetter

from inferences.models import Inference, RegisteredModel
from inferences.search import cursors, planner
from inferences.search.counting import Count, count_matching
from inferences.search.cursors import PagePosition, Position
from inferences.search.filters import Filter, InferenceFilter
from inferences.search.orders import BY_TIME
from inferences.search.pagination import BadCursor, Page, Pagination
from inferences.search.planner import PageSlice
from inferences.store import reading


@dataclass(frozen=True, slots=True)
class ProjectQuery:
    """A query over all models of a project, by time in either direction."""

    filters: Filter = field(default_factory=InferenceFilter)
    pagination: Pagination = field(default_factory=Pagination)
    presign: bool = False
    fields: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.pagination.sort not in (None, "created_at"):
            raise ValueError("pagination.sort: over several models it is created_at.")
        if self.pagination.offset:
            raise ValueError("pagination.offset: over several models use the cursor.")

    def page(
        self, project_key: int, models: Sequence[RegisteredModel]
    ) -> Page[Inference]:
        """Return the page. Raises ``BadQuestion`` for a cursor of another query."""
        wanted = self.pagination
        newest_first = wanted.direction == "desc"
        question = ("project", project_key, self.filters, wanted.direction)
        after = cursors.read(wanted.cursor, question) if wanted.cursor else None
        sign = -1 if newest_first else 1
        found = heapq.merge(
            *(
                [
                    (sign * place.row_id, model.pk, model)
                    for place in self._places(model, newest_first, after)
                ]
                for model in models
            ),
            key=itemgetter(0, 1),
        )
        rows = [row for row, _ in zip(found, range(wanted.limit + 1), strict=False)]
        here, more = rows[: wanted.limit], rows[wanted.limit :]
        page = _fetch([(sign * key, model) for key, _, model in here])
        if not more:
            return Page(page, None)
        key, model_key, _ = here[-1]
        passed = (after.passed if after else 0) + len(here)
        position = Position(PagePosition(str(model_key), sign * key), passed)
        return Page(page, cursors.write(position, question))

    def _places(
        self, model: RegisteredModel, newest_first: bool, after: Position | None
    ) -> list[PagePosition]:
        """Return the model's positions after the cursor, one more than a page."""
        beyond = None
        if after is not None:
            beyond = after.place.row_id
            if model.pk > _model_key(after):
                # Models are merged by (id, key): a row with the cursor's id in a model
                # of higher key has not been returned yet.
                beyond += 1 if newest_first else -1
        part = PageSlice(
            newest_first=newest_first,
            limit=self.pagination.limit + 1,
            after=None if beyond is None else PagePosition(None, beyond),
        )
        return planner.places(model, self.filters, BY_TIME, part)

    def count(self, models: Sequence[RegisteredModel], limit: int | None) -> Count:
        """Return how many match in all models, counted no further than the limit if given."""
        total = 0
        for model in models:
            left = None if limit is None else limit - total
            counted = count_matching(model, self.filters, left)
            total += counted.number
            if not counted.is_exact:
                return Count(total, is_exact=False)
        return Count(total)


def _model_key(after: Position) -> int:
    try:
        return int(str(after.place.rank))
    except (TypeError, ValueError):
        raise BadCursor("This is not a cursor of this store.") from None


def _fetch(rows: Sequence[tuple[int, RegisteredModel]]) -> list[Inference]:
    """Return the inferences in this order, read with one query set for each model."""
    by_model: dict[RegisteredModel, list[int]] = {}
    for row_id, model in rows:
        by_model.setdefault(model, []).append(row_id)
    found = {
        (model.pk, inference.id): inference
        for model, ids in by_model.items()
        for inference in reading.fetch(model, ids)
    }
    keys = [(model.pk, row_id) for row_id, model in rows]
    return [found[key] for key in keys if key in found]
