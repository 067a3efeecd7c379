"""Make segments of what is no longer growing, and again of what was written into.

1. **Announce**: one segment without bounds takes all ids since the last one, but for the
   newest rows. From here on writers tell of what they write there.
2. **Wait** for the writers that may not have seen it: whoever is writing inferences now.
   Nobody waits for us.
3. **Build**, segment by segment: the bounds are read and the touches of its ids deleted
   in one statement, so in one snapshot. What that does not show comes with a touch that
   it does not delete either. A segment that has become too large is cut first.

Each step is a transaction of its own and can be the last: what is announced and not
built, or touched, is found by the next run. Builders of one model exclude each other.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

from django.db import connection, transaction

from inferences.models import SLOTS, Inference, RegisteredModel
from inferences.models.row_ids import LOWEST
from inferences.models.zone_maps import Segment, SegmentTouch

ROWS = 4_096  # of a segment; it is cut when it has twice as many
OPEN = 1_000  # of the newest rows are left out: late events are among them
LEAST = 50_000  # rows that a model has before it is worth it
WAIT_SECONDS = 20.0
RUN_SECONDS = 50.0  # then the next beat goes on
FIRST = LOWEST + 1  # no row is older, and unlike LOWEST it is a bigint when written out

ROW, SEGMENT = Inference._meta.db_table, Segment._meta.db_table
TOUCH = SegmentTouch._meta.db_table
NUMBER_SLOTS = [*SLOTS["integer"], *SLOTS["float"]]

# The newest id that may be announced of each model with enough rows that lie in none.
READY = f"""
SELECT model.id, coalesce(last.id + 1, {FIRST}), (
    SELECT id FROM {ROW} WHERE model_key = model.id
    ORDER BY id DESC OFFSET %(open)s LIMIT 1)
FROM {RegisteredModel._meta.db_table} AS model CROSS JOIN LATERAL (
    SELECT max(highest_id) AS id FROM {SEGMENT} WHERE model_key = model.id
) AS last
WHERE EXISTS (
    SELECT FROM {ROW} WHERE model_key = model.id AND id > coalesce(last.id, {FIRST})
    ORDER BY id OFFSET CASE WHEN last.id IS NULL THEN %(least)s ELSE %(more)s END LIMIT 1)
"""
ANNOUNCE = f"""
INSERT INTO {SEGMENT} (model_key, lowest_id, highest_id)
SELECT %(model)s, %(low)s, %(high)s WHERE %(low)s = (
    SELECT coalesce(max(highest_id) + 1, {FIRST}) FROM {SEGMENT}
    WHERE model_key = %(model)s)
"""
# Who writes rows holds this lock until the transaction ends, and has it before a trigger
# looks for segments.
WRITING = f"""
SELECT virtualtransaction FROM pg_locks
WHERE locktype = 'relation' AND relation = '{ROW}'::regclass
  AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND mode = 'RowExclusiveLock' AND pid IS DISTINCT FROM pg_backend_pid()
"""
ANNOUNCED = f"SELECT model_key, max(highest_id) FROM {SEGMENT} GROUP BY 1 ORDER BY 1"
# A segment without bounds, else the oldest that was touched: so a build meets no others'
# touches on the way to its own.
NEXT = f"""
(SELECT lowest_id, highest_id FROM {SEGMENT}
 WHERE model_key = %(model)s AND highest_id <= %(last)s AND built_at IS NULL
 ORDER BY highest_id DESC LIMIT 1)
UNION ALL
(SELECT segment.lowest_id, segment.highest_id
 FROM (SELECT lowest_id, highest_id FROM {TOUCH}
       WHERE model_key = %(model)s AND lowest_id <= %(last)s
       ORDER BY lowest_id LIMIT 1) AS touch
 CROSS JOIN LATERAL (
     SELECT lowest_id, highest_id FROM {SEGMENT}
     WHERE model_key = %(model)s
     AND highest_id BETWEEN touch.lowest_id AND %(last)s
     ORDER BY highest_id LIMIT 1) AS segment
 WHERE segment.lowest_id <= touch.highest_id)
LIMIT 1
"""
# Where the first rows of a segment end, and whether it is too large.
SIZE = f"""
SELECT (SELECT id FROM {ROW} WHERE model_key = %(model)s AND id BETWEEN %(low)s AND %(high)s
        ORDER BY id OFFSET %(rows)s - 1 LIMIT 1),
       EXISTS (SELECT FROM {ROW}
               WHERE model_key = %(model)s AND id BETWEEN %(low)s AND %(high)s
               ORDER BY id OFFSET 2 * %(rows)s LIMIT 1)
"""
CUT = f"""
WITH rest AS (
    UPDATE {SEGMENT} SET lowest_id = %(high)s + 1, built_at = NULL
    WHERE model_key = %(model)s AND highest_id = %(end)s
)
INSERT INTO {SEGMENT} (model_key, lowest_id, highest_id)
VALUES (%(model)s, %(low)s, %(high)s)
"""
_BOUNDS = [
    (f"{slot}_{edge}", f"{function}({slot})")
    for slot in NUMBER_SLOTS
    for edge, function in (("lowest", "min"), ("highest", "max"))
]
BUILD = f"""
WITH gone AS (
    DELETE FROM {TOUCH} WHERE model_key = %(model)s
    AND lowest_id <= %(high)s AND highest_id >= %(low)s
    RETURNING lowest_id, highest_id
), beside AS (  -- a touch of a segment that has been cut since
    INSERT INTO {TOUCH} (model_key, lowest_id, highest_id)
    SELECT DISTINCT %(model)s, lowest_id, %(before)s FROM gone WHERE lowest_id < %(low)s
    UNION ALL
    SELECT DISTINCT %(model)s, %(after)s, highest_id FROM gone WHERE highest_id > %(high)s
)
UPDATE {SEGMENT}
SET built_at = now(), ({", ".join(column for column, _ in _BOUNDS)}) = (
    SELECT {", ".join(value for _, value in _BOUNDS)} FROM {ROW}
    WHERE model_key = %(model)s AND id BETWEEN %(low)s AND %(high)s)
WHERE model_key = %(model)s AND highest_id = %(high)s
"""
# The segments before the first row that is there say nothing any more.
FORGET = f"""
WITH gone AS (
    DELETE FROM {SEGMENT} WHERE model_key = %(model)s AND highest_id < (
        SELECT min(id) FROM {ROW} WHERE model_key = %(model)s)
    RETURNING highest_id
)
UPDATE {SEGMENT} SET lowest_id = {FIRST} WHERE model_key = %(model)s
AND lowest_id = (SELECT max(highest_id) + 1 FROM gone)
"""


def seal() -> int:
    """Announce, wait and build, for every model; returns how many were built."""
    ended = time.monotonic() + RUN_SECONDS
    announce_all()
    # What somebody else announces from here on is not what is waited for.
    announced = _rows(ANNOUNCED)
    if not wait_for_writers():
        return 0
    built = 0
    for model_key, last in announced:
        for _ in built_segments(model_key, last):
            built += 1
            if time.monotonic() > ended:
                return built
    return built


def announce_all() -> None:
    """Let the rows of each model that has enough new ones become a segment."""
    values = {"open": OPEN, "least": LEAST, "more": ROWS + OPEN}
    for model_key, low, high in _rows(READY, values):
        announce(model_key, low, high)


@transaction.atomic
def announce(model_key: int, low: int, high: int) -> None:
    """A segment of these ids, which are not built yet; none if another came before."""
    if low <= high and _alone(model_key):
        _run(ANNOUNCE, {"model": model_key, "low": low, "high": high})


def wait_for_writers() -> bool:
    """Whether all who were writing inferences came to their end in time."""
    ended = time.monotonic() + WAIT_SECONDS
    left = writing = set(_rows(WRITING))
    while left:
        if time.monotonic() > ended:
            return False
        time.sleep(0.02)
        left = writing & set(_rows(WRITING))
    return True


def built_segments(model_key: int, last: int) -> Iterator[tuple[int, int]]:
    """Build what waits of one model; gives the ids of each segment when it stands.

    ``last`` is the highest id whose announcement was waited for.
    """
    forget_empty(model_key)
    while (segment := _build_next(model_key, last)) is not None:
        yield segment


@transaction.atomic
def _build_next(model_key: int, last: int) -> tuple[int, int] | None:
    """The segment that was built; None when nothing waits, or another is at it."""
    if not _alone(model_key):
        return None
    found = _rows(NEXT, {"model": model_key, "last": last})
    if not found:
        return None
    ((low, high),) = found
    values = {"model": model_key, "low": low, "high": high, "rows": ROWS}
    ((end, is_large),) = _rows(SIZE, values)
    if is_large:
        _run(CUT, values | {"high": end, "end": high})
        high = end
    around = {"before": low - 1, "after": high + 1}
    _run(BUILD, {"model": model_key, "low": low, "high": high} | around)
    return low, high


@transaction.atomic
def forget_empty(model_key: int) -> None:
    """Where retention has passed, one segment takes the ids of all."""
    if _alone(model_key):
        _run(FORGET, {"model": model_key})


def _alone(model_key: int) -> bool:
    """Until the commit nobody else makes segments of this model."""
    lock = "SELECT pg_try_advisory_xact_lock(hashtext('inferences.search.zone_maps'), %(model)s)"
    ((alone,),) = _rows(lock, {"model": model_key})
    return alone


def _rows(sql: str, values: dict[str, int] | None = None) -> list[tuple]:
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        return cursor.fetchall()


def _run(sql: str, values: dict[str, int]) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
