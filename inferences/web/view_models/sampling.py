"""Sample the newest matches, a few narrow columns of each, to count facets.

The number of rows read is bounded, however many match; the planner finds them like a page.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models.expressions import RawSQL
from django.db.models.fields import BooleanField

from inferences.models import Inference, RegisteredModel
from inferences.search import planner
from inferences.search.filters import Filter, matching
from inferences.search.orders import BY_TIME
from inferences.search.planner import PageSlice
from inferences.store.metadata_slots import SIDE_ROWS, SlotRef
from inferences.store.recording import best_of

SAMPLE = 5_000
COLUMNS = (
    "id",
    "labels",
    "scores",
    "source_id",
    "inference_action",
    "latitude",
    "longitude",
)


@dataclass(frozen=True, slots=True)
class Sample:
    """The sample: ``rows`` newest first; ``is_whole`` if there are no more matches."""

    rows: list[Any]
    is_whole: bool

    def __len__(self) -> int:
        return len(self.rows)


def sample(
    model: RegisteredModel,
    filters: Filter,
    columns: Sequence[str] = COLUMNS,
    most: int = SAMPLE,
) -> Sample:
    """Return the newest matches as named tuples of these columns."""
    part = PageSlice(newest_first=True, limit=most + 1)
    found = planner.places(model, filters, BY_TIME, part)
    ids = [place.row_id for place in found[:most]]
    rows = list(_rows_of(model, ids).values_list(*columns, named=True)) if ids else []
    rows.sort(key=lambda row: -row.id)
    if model.awaits_classes and {"labels", "scores"} & set(columns):
        rows = [_with_the_best_alone(row) for row in rows]
    return Sample(rows, len(found) <= most)


def _with_the_best_alone(row: Any) -> Any:
    """Return a row in today's form: an older row may hold its distribution as labels."""
    best = best_of(list(zip(row.labels or (), row.scores or (), strict=True)))
    if not best:
        return row
    ((label, score),) = best
    return row._replace(labels=[label], scores=[score])


def values_at(
    model: RegisteredModel, filters: Filter, place: SlotRef, most: int = SAMPLE
) -> tuple[list[Any], bool]:
    """Return the values of a metadata key in the newest matches, and whether that is all."""
    if place.slot:
        drawn = sample(model, filters, ("id", place.slot), most)
        values = [row[1] for row in drawn.rows if row[1] is not None]
        return values, drawn.is_whole
    drawn = sample(model, filters, ("id",), most)
    beside = SIDE_ROWS[place.side].objects.beside(model).filter(key=place.key_id)
    rows = beside.filter(_any_of("id", [row.id for row in drawn.rows]))
    return list(rows.values_list("value", flat=True)), drawn.is_whole


def count_among(model: RegisteredModel, filters: Filter, drawn: Sample) -> int:
    """Return how many rows of a sample match the filter."""
    if not drawn.rows:
        return 0
    table = Inference._meta.db_table
    ids = [row.id for row in drawn.rows]
    found = matching(model, filters).filter(_any_of(f"{table}.id", ids))
    return found.order_by().count()


def _rows_of(model: RegisteredModel, ids: list[int]) -> Any:
    table = Inference._meta.db_table
    return model.inferences.live().filter(_any_of(f"{table}.id", ids))


def _any_of(column: str, ids: list[int]) -> RawSQL:
    # = ANY(array) is one parameter for any number of ids; IN would have one each.
    return RawSQL(f"{column} = ANY(%s)", [ids], output_field=BooleanField())
