"""Compute which ids a query may skip, because the zone maps say that no row there matches.

Only a built segment lets rows be skipped. Where there is no segment, one without bounds or
one that was touched, the rows are read. Segments and touches come from one statement, so from
one snapshot.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from django.db import connection

from inferences.models.row_ids import LOWEST
from inferences.models.zone_maps import Segment, SegmentTouch

Stretch = tuple[int, int]  # ids, both ends included
# Lowest and highest value of a slot, both included; None means no bound on that side.
Range = tuple[float | None, float | None]

ALL = (LOWEST + 1, -LOWEST - 1)
STRETCHES_MOST = 24  # the rows between two of them cost the planner one statement
TOUCHES_MOST = 10_000  # with more, too much was written for anything to be skipped

# Adjacent segments are joined to one stretch.
SKIPPED = """
SELECT min(lowest_id), max(highest_id), 0 FROM (
    SELECT lowest_id, highest_id, sum(begins) OVER (ORDER BY highest_id) AS stretch
    FROM (
        SELECT lowest_id, highest_id, CASE
            WHEN lag(highest_id) OVER (ORDER BY highest_id) + 1 = lowest_id THEN 0
            ELSE 1 END AS begins
        FROM {segments} WHERE {inside} AND built_at IS NOT NULL
        AND ({may_hold}) IS NOT TRUE
    ) AS each
) AS each GROUP BY stretch ORDER BY 1 {way} LIMIT {most}
"""
TOUCHED = """
SELECT lowest_id, highest_id, count(*) FROM (
    SELECT lowest_id, highest_id FROM {touches}
    WHERE {inside} AND NOT keeps_bounds LIMIT {most}
) AS each GROUP BY 1, 2
"""


def passed_over(
    model_key: int, ranges: Mapping[str, Range], window: Stretch, *, newest_first: bool
) -> list[Stretch]:
    """Return the stretches of ids within the window that no matching row has, ascending.

    ``ranges`` gives the bounds that a matching row's number slots must all satisfy. At most
    ``STRETCHES_MOST`` stretches are returned, the first ones in the direction of the page.
    """
    inside = "model_key = %s AND highest_id >= %s AND lowest_id <= %s"
    may_hold, values = _may_hold(ranges)
    skipped = SKIPPED.format(
        segments=Segment._meta.db_table,
        inside=inside,
        may_hold=may_hold,
        way="DESC" if newest_first else "ASC",
        most=STRETCHES_MOST,
    )
    touched = TOUCHED.format(
        touches=SegmentTouch._meta.db_table, inside=inside, most=TOUCHES_MOST + 1
    )
    here = (model_key, *window)
    with connection.cursor() as cursor:
        cursor.execute(f"({skipped}) UNION ALL ({touched})", [*here, *values, *here])
        found = cursor.fetchall()
    if sum(touches for *_, touches in found) > TOUCHES_MOST:
        return []
    taken = sorted((low, high) for low, high, touches in found if touches)
    skips = sorted((low, high) for low, high, touches in found if not touches)
    left = [rest for skip in skips for rest in between(skip, taken)]
    return left[-STRETCHES_MOST:] if newest_first else left[:STRETCHES_MOST]


def between(window: Stretch, taken: Sequence[Stretch]) -> Iterator[Stretch]:
    """Yield what is left of a window without the stretches, which must be ascending."""
    low, high = window
    for first, last in taken:
        if first > high:
            break
        if low < first:
            yield low, first - 1
        low = max(low, last + 1)
    if low <= high:
        yield low, high


def _may_hold(ranges: Mapping[str, Range]) -> tuple[str, list[float]]:
    """Return the SQL test that a segment may hold a row whose slots are all within their ranges."""
    tests, values = [], []
    for slot, (low, high) in sorted(ranges.items()):
        tests.append(f"{slot}_lowest IS NOT NULL")
        if low is not None:
            tests.append(f"{slot}_highest >= %s")
            values.append(low)
        if high is not None:
            tests.append(f"{slot}_lowest <= %s")
            values.append(high)
    return " AND ".join(tests), values
