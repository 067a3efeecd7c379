"""Which ids a question may pass over: no row there can match.

Nothing is passed over unless a segment says so: where there is none, where it has no
bounds yet or was touched, rows are read. Segments and touches come from one statement.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from django.db import connection

from inferences.models.row_ids import LOWEST
from inferences.models.zone_maps import Segment, SegmentTouch

Stretch = tuple[int, int]  # ids, both ends included
# Between which numbers a slot lies, both included; None is no bound on that side.
Range = tuple[float | None, float | None]

ALL = (LOWEST + 1, -LOWEST - 1)
STRETCHES_MOST = 24  # each that lies between two is a statement of its own
TOUCHES_MOST = 10_000  # with more, too much is being written to pass over anything

# Segments beside each other become one stretch.
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
    SELECT lowest_id, highest_id FROM {touches} WHERE {inside} LIMIT {most}
) AS each GROUP BY 1, 2
"""


def passed_over(
    model_key: int, ranges: Mapping[str, Range], window: Stretch, *, newest_first: bool
) -> list[Stretch]:
    """Ids within the window that no row asked for has, in ascending stretches.

    ``ranges`` are of the number slots of a row that is asked for, all of them; the first
    stretches in the direction of the page are told, and no more than are worth it.
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
    """What is left of a window without the stretches, which are in ascending order."""
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
    """That a segment may hold a row whose slots are all within their ranges."""
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
