"""Statistics of what the store has removed, and a table of the lake still has.

Each inference counts once: as a record, or as a row whose record is gone. To tell them, the rows
of each day are counted by the manifests of the table and the records by an index. Only days with
more rows than records have any that are gone; of those days that have both, the ids of the
records are given to the query, which leaves their rows out.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.conf import settings
from django.db.models import Count, F, IntegerField
from django.db.models.expressions import RawSQL
from pyiceberg.schema import Schema
from pyiceberg.table import Table
from pyiceberg.types import DoubleType, LongType, StringType

from exports.lake import columns, tables
from exports.lake.catalog import open_catalog
from exports.lake.data_files import EPOCH, days_of, files_of
from exports.lake.models import LakeTable
from exports.lake.query.running import query
from inferences.models import InferenceKey, RegisteredModel
from inferences.models.row_ids import (
    LOW_BITS,
    ORIGIN,
    first_id_at,
    last_id_at,
    microseconds,
    moment_of,
)
from inferences.search.filters import InferenceFilter, TimeWindow
from inferences.search.statistics import (
    DISTINCT_MAX,
    LAKE,
    ColdValues,
    Statistics,
    StatisticsQuery,
)
from istore.db import clock

TYPES: dict[str, tuple[type, ...]] = {
    "string": (StringType,),
    "int": (LongType,),
    "float": (DoubleType,),
    "number": (LongType, DoubleType),
}
DAY = timedelta(days=1)
DAY_MICROSECONDS = DAY // timedelta(microseconds=1)
RECORDS_MAX = 200_000  # whose ids are given to the query, of days that have both
UNEXPORTED_MAX = 10_000


def find_cold(model: RegisteredModel, asked: StatisticsQuery) -> ColdValues | None:
    """Return the values that only a table with all of the model has; None for other questions.

    These are questions with a filter beside the time, or without a time; those of a time of which
    the table may lack something; and those of which the store has every record.
    """
    window = _only_window(asked)
    if window is None:
        return None
    end = window.end or clock.now()
    row = _whole_table(model)
    if row is None or (first := _first_record(model, window)) is False:
        return None
    assert row.schedule is not None
    until = row.schedule.exported_until
    # From the first record on, what is not exported yet is a record.
    if until is None or until < (end if first is None else moment_of(first)):
        return None
    table = tables.load(open_catalog(), row)
    if table is None or not (names := _names(table.schema(), asked)):
        return None
    days = _cold_days(row, table, window.start, end)
    if not days.cold:
        return None
    values = _Values(row, names, asked.type, window.start, end, days)
    values.is_alone = first is None
    return values if values.count else None


def _only_window(asked: StatisticsQuery) -> TimeWindow | None:
    if not isinstance(asked.filters, InferenceFilter):
        return None
    window = asked.filters.time_window
    return window if asked.filters == InferenceFilter(time_window=window) else None


def _whole_table(model: RegisteredModel) -> LakeTable | None:
    """Return a table with a row for every inference that was exported, removed ones included."""
    return (
        LakeTable.objects.present()
        .filter(
            model=model,
            shape="flat",
            schedule__selection={},
            schedule__keeps_removed=True,
            is_whole=True,
        )
        .select_related("schedule", "model__project")
        .order_by("pk")
        .first()
    )


def _first_record(model: RegisteredModel, window: TimeWindow) -> int | bool | None:
    """Return the id of the first record of the window, None without one; False: no such time."""
    ids = window.row_ids()
    if ids is None:
        return False
    within = model.inferences.filter(id__gte=ids[0], id__lte=ids[1])
    found: int | None = within.order_by("id").values_list("id", flat=True).first()
    return found


def _names(schema: Schema, asked: StatisticsQuery) -> list[str]:
    fields = columns.fields_of_key(schema, asked.key)
    return [f.name for f in fields if isinstance(f.field_type, TYPES[asked.type])]


@dataclass
class _Days:
    """The days with rows whose records are gone, and the records of those that have both.

    ``is_complete`` is False where days with too many records are left out.
    """

    cold: list[str]
    records: list[str]
    is_complete: bool = True


def _cold_days(row: LakeTable, table: Table, start: datetime, end: datetime) -> _Days:
    bounds = days_of(start.astimezone(UTC).date()), days_of(end.astimezone(UTC).date())
    rows = Counter[int]()
    for file in files_of(table):
        if bounds[0] <= file.partition[1] <= bounds[1]:
            rows[file.partition[1]] += file.record_count
    records = _records_of_days(row.model, bounds)
    unexported = _unexported_of_days(row)
    found = _Days([], [])
    mixed: list[int] = []
    for day in sorted(rows):
        exported = records[day] - min(unexported[day], records[day])
        if rows[day] <= exported:
            continue
        if not records[day]:
            found.cold.append(_name(day))
        elif sum(records[each] for each in mixed) + records[day] <= RECORDS_MAX:
            mixed.append(day)
        else:
            found.is_complete = False
    for day in mixed:
        found.cold.append(_name(day))
        found.records += _names_of_records(row.model, day)
    return found


def _name(day: int) -> str:
    return (EPOCH + day * DAY).isoformat()


def _ids_of(first: int, last: int) -> tuple[int, int]:
    """Return the first and the last id of a range of days."""
    start = datetime(1970, 1, 1, tzinfo=UTC) + first * DAY
    return first_id_at(start), last_id_at(start + (last - first + 1) * DAY) - (
        1 << LOW_BITS
    )


def _records_of_days(model: RegisteredModel, bounds: tuple[int, int]) -> Counter[int]:
    """Return how many records each day has, soft-deleted ones too."""
    ids = _ids_of(*bounds)
    of_origin = days_of(ORIGIN.date())
    day = RawSQL(
        "floor((inferences_inference.id >> %s)::numeric / %s)::int + %s",
        [LOW_BITS, DAY_MICROSECONDS, of_origin],
        IntegerField(),
    )
    within = model.inferences.filter(id__gte=ids[0], id__lte=ids[1]).order_by()
    counted = within.annotate(day=day).values("day").annotate(times=Count("id"))
    return Counter(dict(counted.values_list("day", "times")))


def _unexported_of_days(row: LakeTable) -> Counter[int]:
    """Return how many records each day has that have arrived since; none if they are many."""
    assert row.schedule is not None
    keys = InferenceKey.objects.filter(registered_model=row.model, arrival__gte=0)
    new = keys.filter(arrival__gt=row.schedule.position, removed_at=None)
    found = list(new.values_list("row_id", flat=True)[: UNEXPORTED_MAX + 1])
    if len(found) > UNEXPORTED_MAX:
        return Counter()
    return Counter(
        days_of(moment_of(each).date()) for each in found if each is not None
    )


def _names_of_records(model: RegisteredModel, day: int) -> list[str]:
    ids = _ids_of(day, day)
    within = model.inferences.filter(id__gte=ids[0], id__lte=ids[1]).order_by()
    rows = within.values_list("inference_id", F("id")).iterator(10_000)
    of_origin = microseconds(datetime(1970, 1, 1, tzinfo=UTC))
    return [f"{(row_id >> LOW_BITS) - of_origin} {name}" for name, row_id in rows]


class _Values:
    """The values of a key of the rows whose records are gone."""

    is_alone = False

    def __init__(
        self,
        row: LakeTable,
        names: list[str],
        type_: str,
        start: datetime,
        end: datetime,
        days: _Days,
    ) -> None:
        self.project = row.model.project
        self.is_complete = days.is_complete
        self.values = [start.isoformat(), end.isoformat(), days.cold, days.records]
        value = ", ".join(f'"{name}"' for name in names)
        # The days are compared as moments, too: Arrow reads no files of others then.
        self.sql = (
            f'WITH found AS (SELECT coalesce({value}) AS value FROM "{row.namespace}"'
            f'."{row.name}" WHERE timestamp BETWEEN $1::TIMESTAMPTZ AND $2::TIMESTAMPTZ'
            " AND CAST(timestamp AT TIME ZONE 'UTC' AS DATE) IN (SELECT unnest($3::DATE[]))"
            " AND concat(epoch_us(timestamp), ' ', id) NOT IN (SELECT unnest($4::VARCHAR[]))"
            f" AND coalesce({value}) IS NOT NULL) "
        )
        if type_ == "string":
            wanted = "count(*), count(DISTINCT value), NULL"
        else:
            wanted = "count(*), min(value), max(value)"
        ((self.count, self.low, self.high),) = self.rows(f"SELECT {wanted} FROM found")

    def rows(self, sql: str, *more: Any) -> list[list[Any]]:
        return query([self.project], self.sql + sql, None, [*self.values, *more]).rows

    def texts(self) -> Statistics:
        most = min(DISTINCT_MAX, settings.ISTORE_LAKE_QUERY_ROWS)
        rows = self.rows(
            "SELECT value, count(*) AS times FROM found GROUP BY value "
            f"ORDER BY times DESC, value LIMIT {most}"
        )
        distribution = dict(rows)
        return Statistics(
            self.count,
            distribution,
            distinct_count=self.low,
            is_complete=self.is_complete and len(distribution) == self.low,
            source=LAKE,
        )

    def counts(self, asked: StatisticsQuery, edges: list[float]) -> list[int]:
        if len(edges) < 2:
            return []
        limit = asked.distribution_maximum_value
        last = edges[-1] if limit is None else min(edges[-1], limit)
        rows = self.rows(
            ", edges AS (SELECT unnest($5::DOUBLE[]) AS edge) "
            "SELECT edge, count(*) FROM found ASOF JOIN edges "
            "ON found.value::DOUBLE >= edges.edge "
            "WHERE found.value <= $6::DOUBLE GROUP BY edge",
            edges[:-1],
            last,
        )
        counted = dict(rows)
        return [counted.get(edge, 0) for edge in edges[:-1]]
