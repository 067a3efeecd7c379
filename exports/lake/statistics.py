"""Statistics of a time range that is older than every record of the store, from the lake."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from pyiceberg.schema import Schema
from pyiceberg.types import DoubleType, LongType, StringType

from exports.lake import columns, tables
from exports.lake.catalog import open_catalog
from exports.lake.models import LakeTable
from exports.lake.query.running import query
from inferences.models import RegisteredModel
from inferences.search.filters import InferenceFilter, TimeWindow
from inferences.search.statistics import (
    DISTINCT_MAX,
    LAKE,
    Statistics,
    StatisticsQuery,
    bin_edges,
    bin_names,
)

TYPES: dict[str, tuple[type, ...]] = {
    "string": (StringType,),
    "int": (LongType,),
    "float": (DoubleType,),
    "number": (LongType, DoubleType),
}


def of_cold_range(model: RegisteredModel, asked: StatisticsQuery) -> Statistics | None:
    """Return the statistics from a table that has all of the model; None for other questions.

    These are questions with a filter beside the time, and those of a time of which the store has
    a record.
    """
    window = _only_window(asked)
    if window is None or window.end is None:
        return None
    row = _whole_table(model, window)
    if row is None or _has_records(model, window):
        return None
    table = tables.load(open_catalog(), row)
    if table is None or not (names := _names(table.schema(), asked)):
        return None
    found = _Values(row, names, window)
    return found.strings() if asked.type == "string" else found.numbers(asked)


def _only_window(asked: StatisticsQuery) -> TimeWindow | None:
    if not isinstance(asked.filters, InferenceFilter):
        return None
    window = asked.filters.time_window
    return window if asked.filters == InferenceFilter(time_window=window) else None


def _whole_table(model: RegisteredModel, window: TimeWindow) -> LakeTable | None:
    """Return a table with a row for every inference to the window's end, removed ones included."""
    return (
        LakeTable.objects.filter(
            model=model,
            shape="flat",
            schedule__selection={},
            schedule__keeps_removed=True,
            schedule__exported_until__gte=window.end,
            is_whole=True,
        )
        .order_by("pk")
        .first()
    )


def _has_records(model: RegisteredModel, window: TimeWindow) -> bool:
    ids = window.row_ids()
    return ids is None or model.inferences.filter(id__lte=ids[1]).exists()


def _names(schema: Schema, asked: StatisticsQuery) -> list[str]:
    fields = columns.fields_of_key(schema, asked.key)
    return [f.name for f in fields if isinstance(f.field_type, TYPES[asked.type])]


class _Values:
    """The values of a key in a time range."""

    def __init__(self, row: LakeTable, names: list[str], window: TimeWindow) -> None:
        assert window.end is not None
        self.project = row.model.project
        self.limits = [window.start.isoformat(), window.end.isoformat()]
        value = ", ".join(f'"{name}"' for name in names)
        self.sql = (
            f'WITH found AS (SELECT coalesce({value}) AS value FROM "{row.namespace}"'
            f'."{row.name}" WHERE timestamp BETWEEN $1::TIMESTAMPTZ AND $2::TIMESTAMPTZ'
            f" AND coalesce({value}) IS NOT NULL) "
        )

    def rows(self, sql: str, *values: Any) -> list[list[Any]]:
        return query([self.project], self.sql + sql, None, [*self.limits, *values]).rows

    def strings(self) -> Statistics | None:
        ((count, distinct),) = self.rows(
            "SELECT count(*), count(DISTINCT value) FROM found"
        )
        if not count:
            return None
        most = min(DISTINCT_MAX, settings.ISTORE_LAKE_QUERY_ROWS)
        rows = self.rows(
            "SELECT value, count(*) AS times FROM found GROUP BY value "
            f"ORDER BY times DESC, value LIMIT {most}"
        )
        distribution = dict(rows)
        return Statistics(
            count,
            distribution,
            distinct_count=distinct,
            is_complete=len(distribution) == distinct,
            source=LAKE,
        )

    def numbers(self, asked: StatisticsQuery) -> Statistics | None:
        ((count, low, high),) = self.rows(
            "SELECT count(*), min(value), max(value) FROM found"
        )
        if not count:
            return None
        edges = bin_edges(asked, low, high)
        distribution: dict[str, int] = {}
        if len(edges) > 1:
            limit = asked.distribution_maximum_value
            last = edges[-1] if limit is None else min(edges[-1], limit)
            rows = self.rows(
                ", edges AS (SELECT unnest($3::DOUBLE[]) AS edge) "
                "SELECT edge, count(*) FROM found ASOF JOIN edges "
                "ON found.value::DOUBLE >= edges.edge "
                "WHERE found.value <= $4::DOUBLE GROUP BY edge",
                edges[:-1],
                last,
            )
            counted = dict(rows)
            names = bin_names(edges)
            pairs = zip(names, edges[:-1], strict=True)
            distribution = {name: counted.get(edge, 0) for name, edge in pairs}
        return Statistics(
            count, distribution, float(low) + 0.0, float(high) + 0.0, source=LAKE
        )
