"""Check that the bounds and summaries of zone map segments are true of their rows."""

from __future__ import annotations

from collections.abc import Iterator

from django.db import connection

from inferences.maintenance.orphan_blobs import models_of
from inferences.models import Inference, RegisteredModel
from inferences.models.row_ids import first_id_at
from inferences.models.zone_maps import Segment, SegmentGroup, SegmentTouch
from inferences.search.zone_maps import groups
from inferences.search.zone_maps.build import (
    FIRST,
    NUMBER_SLOTS,
    SUMMARY,
    contents_of,
)
from istore.checks.verification import Finding, Scope

SEGMENT, TOUCH = Segment._meta.db_table, SegmentTouch._meta.db_table
GROUP = SegmentGroup._meta.db_table
AT_ONCE = 5  # segments of one statement

NEXT = f"""
SELECT max(highest_id) FROM (
    SELECT highest_id FROM {SEGMENT} WHERE model_key = %(model)s
    AND highest_id >= %(low)s ORDER BY highest_id LIMIT {AT_ONCE}) AS page
"""
# Segments, touches and rows come from one snapshot: if a touch is not committed yet, its
# rows are not either.
WRONG = f"""
SELECT segment.lowest_id, segment.highest_id FROM {SEGMENT} AS segment
WHERE segment.model_key = %(model)s AND segment.highest_id BETWEEN %(low)s AND %(high)s
AND built_at IS NOT NULL AND EXISTS (
    SELECT FROM {Inference._meta.db_table} AS row
    WHERE row.model_key = segment.model_key
    AND row.id BETWEEN segment.lowest_id AND segment.highest_id AND NOT row.deleted
    AND ({
    " OR ".join(
        f"(row.{slot} BETWEEN segment.{slot}_lowest AND segment.{slot}_highest) "
        f"IS NOT TRUE AND row.{slot} IS NOT NULL"
        for slot in NUMBER_SLOTS
    )
}) AND NOT EXISTS (
        SELECT FROM {TOUCH} AS touch WHERE touch.model_key = row.model_key
        AND row.id BETWEEN touch.lowest_id AND touch.highest_id AND NOT keeps_bounds))
ORDER BY segment.highest_id
"""
MISCOUNTED = f"""
SELECT segment.lowest_id, segment.highest_id FROM {SEGMENT} AS segment
CROSS JOIN LATERAL (
    {contents_of("segment.model_key", "segment.lowest_id", "segment.highest_id")}
) AS present
WHERE segment.model_key = %(model)s AND segment.highest_id BETWEEN %(low)s AND %(high)s
AND segment.highest_id = ANY(ARRAY(
    SELECT highest_id FROM {SEGMENT} WHERE model_key = %(model)s
    AND highest_id BETWEEN %(low)s AND %(high)s ORDER BY highest_id LIMIT %(most)s))
AND segment.built_at IS NOT NULL AND segment.live IS NOT NULL
AND ({", ".join(f"segment.{name}" for name in SUMMARY)})
    IS DISTINCT FROM ({", ".join(f"present.{name}" for name in SUMMARY)})
AND NOT EXISTS (
    SELECT FROM {TOUCH} AS touch WHERE touch.model_key = segment.model_key
    AND touch.lowest_id <= segment.highest_id AND touch.highest_id >= segment.lowest_id)
ORDER BY segment.highest_id
"""
# The sums are those of the segments, and the buckets those of the rows.
MISADDED = f"""
SELECT sums.lowest_id, sums.highest_id FROM {GROUP} AS sums
LEFT JOIN LATERAL (
    {groups.sums_of("sums.model_key", "sums.lowest_id", "sums.highest_id")}
) AS present ON true
WHERE sums.model_key = %(model)s AND sums.highest_id BETWEEN %(low)s AND %(high)s
AND ({", ".join(f"sums.{name}" for name in groups.COLUMNS)})
    IS DISTINCT FROM ({", ".join(f"present.{name}" for name in groups.COLUMNS)})
AND sums.highest_id = ANY(ARRAY(
    SELECT highest_id FROM {SEGMENT} WHERE model_key = %(model)s
    AND highest_id BETWEEN %(low)s AND %(high)s ORDER BY highest_id LIMIT %(most)s))
AND NOT EXISTS (
    SELECT FROM {TOUCH} AS touch WHERE touch.model_key = sums.model_key
    AND touch.lowest_id <= sums.highest_id AND touch.highest_id >= sums.lowest_id)
ORDER BY sums.highest_id
"""
FORGET_GROUP = f"""
DELETE FROM {GROUP} WHERE model_key = %s AND lowest_id <= %s AND highest_id >= %s
"""
CHECKS = (
    (
        WRONG,
        "segment-differs",
        "A row lies outside of the bounds: pages may have passed over it.",
    ),
    (
        MISCOUNTED,
        "segment-miscounts",
        "The summary is not that of the rows: counts may have been wrong.",
    ),
    (
        MISADDED,
        "segment-group-miscounts",
        "The sums are not those of the segments: counts may have been wrong.",
    ),
)


def segments(scope: Scope) -> Iterator[Finding]:
    """Check the bounds of all segments, and the summaries of one in five, or of all when deep.

    No live row may have a number outside of the bounds of its segment, and the summary must
    be that of the live rows; a group has the sums of its segments. A repair adds a touch to a
    wrong segment, so that its rows are read, and deletes a wrong group; the next beat builds them
    anew.
    """
    for model in models_of(scope):
        low = first_id_at(scope.since) if scope.since else FIRST
        while (high := _end(model, low)) is not None:
            within = {"model": model.pk, "low": low, "high": high}
            within["most"] = AT_ONCE if scope.deep else 1
            for statement, kind, detail in CHECKS:
                for first, last in _rows(statement, within):
                    if scope.repair:
                        _repair(model, kind, first, last)
                    where = f"{model.full_name} rows {first} to {last}"
                    yield Finding(kind, where, detail, scope.repair)
            low = high + 1


def _repair(model: RegisteredModel, kind: str, low: int, high: int) -> None:
    if kind == "segment-group-miscounts":
        with connection.cursor() as cursor:
            cursor.execute(FORGET_GROUP, [model.pk, high, low])
    else:
        SegmentTouch.objects.create(
            registered_model=model, lowest_id=low, highest_id=high
        )


def _end(model: RegisteredModel, low: int) -> int | None:
    with connection.cursor() as cursor:
        cursor.execute(NEXT, {"model": model.pk, "low": low})
        end: int | None = cursor.fetchone()[0]
    return end


def _rows(statement: str, values: dict[str, int]) -> list[tuple[int, int]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        rows: list[tuple[int, int]] = cursor.fetchall()
    return rows
