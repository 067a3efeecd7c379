"""Sample the newest matches, a few narrow columns of each, to count facets.

The number of rows read is bounded, however many match; the planner finds them like a page.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from django.db import connection
from django.db.models.expressions import RawSQL
from django.db.models.fields import BooleanField

from inferences.models import Inference, RegisteredModel
from inferences.search import planner
from inferences.search.access_paths import AccessPath, Sql
from inferences.search.filters import Filter, matching
from inferences.search.filters.all_kinds import complement_of
from inferences.search.orders import BY_TIME
from inferences.search.planner import PageSlice
from inferences.store.metadata_slots import SIDE_ROWS, SlotRef
from inferences.store.recording import best_of

SAMPLE = 5_000
PLACES = ("id", "latitude", "longitude")
COLUMNS = (
    "id",
    "labels",
    "scores",
    "source_id",
    "inference_action",
    "latitude",
    "longitude",
)


@dataclass(frozen=True)
class Sample:
    """The newest matches: their ``ids``, newest first; ``is_whole`` if there are no more.

    Their columns are read when they are asked for.
    """

    model: RegisteredModel
    ids: list[int]
    is_whole: bool
    columns: Sequence[str] = COLUMNS

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def rows(self) -> list[Any]:
        """The matches as named tuples of the columns."""
        rows = self._read(self.columns)
        if self.model.awaits_classes and {"labels", "scores"} & set(self.columns):
            return [_with_the_best_alone(row) for row in rows]
        return rows

    @cached_property
    def places(self) -> list[Any]:
        """The matches with their coordinates; nothing is read again that ``rows`` has."""
        return self.rows if "rows" in self.__dict__ else self._read(PLACES)

    def _read(self, columns: Sequence[str]) -> list[Any]:
        if not self.ids:
            return []
        rows = list(_rows_of(self.model, self.ids).values_list(*columns, named=True))
        rows.sort(key=lambda row: -row.id)
        return rows


def sample(
    model: RegisteredModel,
    filters: Filter,
    columns: Sequence[str] = COLUMNS,
    most: int = SAMPLE,
) -> Sample:
    """Return the newest matches; ``rows`` of them has these columns, ``id`` first."""
    part = PageSlice(newest_first=True, limit=most + 1)
    found = planner.places(model, filters, BY_TIME, part)
    ids = [place.row_id for place in found[:most]]
    return Sample(model, ids, len(found) <= most, columns)


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
    rows = beside.filter(_any_of("id", drawn.ids))
    return list(rows.values_list("value", flat=True)), drawn.is_whole


def count_among(model: RegisteredModel, filters: Filter, drawn: Sample) -> int:
    """Return how many rows of a sample match the filter."""
    if not drawn.ids:
        return 0
    table = Inference._meta.db_table
    found = matching(model, filters).filter(_any_of(f"{table}.id", drawn.ids))
    return found.order_by().count()


def count_by_paths(
    model: RegisteredModel, choices: Sequence[Filter], drawn: Sample
) -> list[int | None]:
    """Return how many rows of a sample match each filter; None for one that must be tested by row.

    One statement reads what the access path of each filter has among the ids of the sample. So what
    few inferences have, such as warnings or a failure, costs next to nothing. A path that has more
    entries than the sample has rows is not read to its end.
    """
    ids = set(drawn.ids)
    if not ids:
        return [0] * len(choices)
    window = Sql(" AND id BETWEEN %s AND %s", (min(ids), max(ids)))
    parts = [complement_of(each) or each for each in choices]
    scans: dict[Filter, Sql] = {}
    inexact = set[Filter]()
    for part in dict.fromkeys(parts):
        path = _path_by_side_rows(part.access_paths(model))
        if path is not None:
            (scan,) = path.branches
            if not path.is_exact:
                inexact.add(part)
            scans[part] = Sql(
                f"(SELECT {len(scans)} AS number, id FROM {scan.source} WHERE "
                f"{scan.where.sql}{window.sql} LIMIT {len(ids) + 1})",
                scan.where.values + window.values,
            )
    if not scans:
        return [None] * len(choices)
    found: list[list[int]] = [[] for _ in scans]
    with connection.cursor() as cursor:
        cursor.execute(
            " UNION ALL ".join(each.sql for each in scans.values()),
            [value for each in scans.values() for value in each.values],
        )
        for number, row_id in cursor:
            found[number].append(row_id)
    counts: dict[Filter, int | None] = {}
    for part, entries in zip(scans, found, strict=True):
        here = ids.intersection(entries)
        counts[part] = None if len(entries) > len(ids) else len(here)
        if counts[part] and part in inexact:
            few = [row_id for row_id in drawn.ids if row_id in here]
            counts[part] = count_among(model, part, replace(drawn, ids=few))

    def count(filters: Filter, part: Filter) -> int | None:
        number = counts.get(part)
        if number is None:
            return None
        return number if part is filters else len(ids) - number

    return [count(*pair) for pair in zip(choices, parts, strict=True)]


def _path_by_side_rows(paths: Sequence[AccessPath]) -> AccessPath | None:
    """Return the path of a filter if it is one scan of a side table."""
    if len(paths) != 1 or len(paths[0].branches) != 1 or paths[0].of_rows:
        return None
    return paths[0]


def _rows_of(model: RegisteredModel, ids: list[int]) -> Any:
    table = Inference._meta.db_table
    return model.inferences.live().filter(_any_of(f"{table}.id", ids))


def _any_of(column: str, ids: list[int]) -> RawSQL:
    # = ANY(array) is one parameter for any number of ids; IN would have one each.
    return RawSQL(f"{column} = ANY(%s)", [ids], output_field=BooleanField())
