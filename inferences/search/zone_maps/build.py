"""Build the zone maps: segments over rows that no longer grow, rebuilt after writes.

A segment gets the bounds of all its rows and the summary of the live ones.

1. **Announce**: insert one segment without bounds for all ids since the last one, except the
   newest rows. From here on writers record a touch for what they write there.
2. **Wait** for every transaction that is writing inferences now, because it may not have seen
   the announcement. Nobody waits for the builder.
3. **Build** segment by segment: one statement reads the rows and deletes the touches of its
   ids, so both come from one snapshot. A row that is not in the snapshot comes with a touch
   that is not deleted either. A segment that has become too large is split first.

Each step is a transaction of its own, and a run may end after any of them: the next run finds
what is announced and not built, or touched. An advisory lock excludes a second builder of the
same model.

When nothing waits any more, ``groups`` adds up what is built.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from itertools import chain, starmap
from typing import Any

from django.db import connection, transaction

from inferences.models import SLOTS, Inference, RegisteredModel
from inferences.models.row_ids import LOWEST
from inferences.models.zone_maps import (
    BITS_MOST,
    BITS_OF,
    BUCKETS,
    COUNTED,
    MARKED,
    VALUES_MOST,
    Segment,
    SegmentGroup,
    SegmentTouch,
)
from inferences.search.zone_maps import groups
from inferences.search.zone_maps.buckets import edges_of, ranks_of
from inferences.search.zone_maps.counts import SCORE_EDGES, value_of
from inferences.search.zone_maps.tallies import SCORES

logger = logging.getLogger(__name__)

ROWS = 4_096  # rows of a segment; it is split when it has twice as many
OPEN = 1_000  # newest rows that stay outside, because late events land among them
LEAST = 50_000  # a model with fewer rows gets no segments
WAIT_SECONDS = 20.0  # for writers; if they take longer, nothing is built in this run
RUN_SECONDS = 50.0  # the next run by beat goes on
FIRST = LOWEST + 1  # no row is older; unlike LOWEST, PostgreSQL parses it as a bigint

ROW, SEGMENT = Inference._meta.db_table, Segment._meta.db_table
TOUCH, GROUP = SegmentTouch._meta.db_table, SegmentGroup._meta.db_table
NUMBER_SLOTS = [*SLOTS["integer"], *SLOTS["float"]]

# Of a model with enough rows outside of segments: the ids that may be announced.
READY = f"""
SELECT coalesce(last.id + 1, {FIRST}), (
    SELECT id FROM {ROW} WHERE model_key = %(model)s
    ORDER BY id DESC OFFSET %(open)s LIMIT 1)
FROM (SELECT max(highest_id) AS id FROM {SEGMENT} WHERE model_key = %(model)s) AS last
WHERE EXISTS (
    SELECT FROM {ROW} WHERE model_key = %(model)s AND id > coalesce(last.id, {FIRST})
    ORDER BY id OFFSET CASE WHEN last.id IS NULL THEN %(least)s ELSE %(more)s END LIMIT 1)
"""
ANNOUNCE = f"""
INSERT INTO {SEGMENT} (model_key, lowest_id, highest_id)
SELECT %(model)s, %(low)s, %(high)s WHERE %(low)s = (
    SELECT coalesce(max(highest_id) + 1, {FIRST}) FROM {SEGMENT}
    WHERE model_key = %(model)s)
"""
# A writer takes RowExclusiveLock before it looks for segments to touch, and holds it until the
# transaction ends.
WRITING = f"""
SELECT virtualtransaction FROM pg_locks
WHERE locktype = 'relation' AND relation = '{ROW}'::regclass
  AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND mode = 'RowExclusiveLock' AND pid IS DISTINCT FROM pg_backend_pid()
"""
ANNOUNCED = f"SELECT max(highest_id) FROM {SEGMENT} WHERE model_key = %(model)s"
# A segment that is not built, else the touched one with the lowest ids: so a build scans no
# touches of other segments before its own in the primary key of touches.
NEXT = f"""
(SELECT lowest_id, highest_id FROM {SEGMENT}
 WHERE model_key = %(model)s AND highest_id <= %(last)s
 AND (built_at IS NULL OR live IS NULL)
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
# The id at which the first ROWS rows of a segment end, and whether it must be split.
SIZE = f"""
SELECT (SELECT id FROM {ROW} WHERE model_key = %(model)s AND id BETWEEN %(low)s AND %(high)s
        ORDER BY id OFFSET %(rows)s - 1 LIMIT 1),
       EXISTS (SELECT FROM {ROW}
               WHERE model_key = %(model)s AND id BETWEEN %(low)s AND %(high)s
               ORDER BY id OFFSET 2 * %(rows)s LIMIT 1)
"""
# A segment's key is its highest id: the upper part keeps it, the lower part is a new row.
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


def _counts(column: str) -> str:
    """Return SQL for the counts of a column's values, null when there are too many."""
    value, beside = value_of(column)
    most = len(SCORES) + 1 if column == "scores" else VALUES_MOST
    return f"""(
    SELECT CASE WHEN count(*) <= {most}
                THEN coalesce(jsonb_object_agg(value, number), '{{}}') END
    FROM (SELECT {value} AS value, count(*) AS number FROM live{beside}
          WHERE {value} IS NOT NULL GROUP BY 1 LIMIT {most + 1}) AS each)"""


def _bits(column: str) -> str:
    """Return SQL for the bitmaps of a column's values, null when there are too many.

    A bitmap is the zeros before each row with the value, a one, and the zeros behind the last.
    jsonb orders its keys by their length first.
    """
    value, beside = value_of(column)
    counts = f"(SELECT {column}_counts FROM counted)"
    return f"""
    CASE WHEN {counts} IS NULL THEN NULL WHEN {counts} = '{{}}' THEN '{{}}'
    WHEN (SELECT count(*) FROM jsonb_object_keys({counts})) <= {BITS_MOST} THEN (
        SELECT array_agg(bits ORDER BY octet_length(value), value COLLATE "C")
        FROM (
            SELECT value::text AS value,
                   (string_agg(repeat('0', zeros) || '1', '' ORDER BY nth)
                    || repeat('0', (max(live) - max(nth))::integer))::varbit AS bits
            FROM (
                SELECT value, nth, live, (nth - 1 - lag(nth, 1, 0::bigint)
                       OVER (PARTITION BY value ORDER BY nth))::integer AS zeros
                FROM (SELECT {value} AS value, nth, live FROM numbered{beside}) AS each
                WHERE value IS NOT NULL
            ) AS each GROUP BY each.value
        ) AS each)
    END"""


def _by_score(column: str, sign: str) -> str:
    """Return SQL for the number of rows whose score passes the beginning of each part."""
    window = (
        "ORDER BY part DESC"
        if sign == ">="
        else ("ORDER BY part ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING")
    )
    return f"""(
    SELECT array_agg(number ORDER BY part) FILTER (WHERE part > 0)
    FROM (SELECT part, coalesce(sum(number) OVER ({window}), 0)::integer AS number
          FROM generate_series(0, {len(SCORES)}) AS part LEFT JOIN (
              SELECT width_bucket({column}, {SCORE_EDGES}) AS part, count(*) AS number
              FROM live WHERE {column} IS NOT NULL GROUP BY 1
          ) AS each USING (part)) AS each)"""


def _ordered(slot: str) -> str:
    """Return SQL for the ascending values of a slot that has no bitmaps; else null."""
    counts = f"(SELECT {slot}_counts FROM counted)"
    value, _ = value_of(slot)
    return f"""
    CASE WHEN {counts} IS NULL
           OR (SELECT count(*) FROM jsonb_object_keys({counts})) > {BITS_MOST} THEN (
        SELECT array_agg({value} ORDER BY {slot}) FROM live WHERE {slot} IS NOT NULL)
    END AS {slot}"""


_FILLED = ", ".join(
    f"'{slot}', count({slot}) FILTER (WHERE NOT deleted)" for slot in NUMBER_SLOTS
)
_SUMMARY = {
    "live": "count(*) FILTER (WHERE NOT deleted)",
    "filled": f"jsonb_build_object({_FILLED})",
    **{f"{c}_counts": f"(SELECT {c}_counts FROM counted)" for c in COUNTED},
    **{f"{column}_bits": _bits(column) for column in BITS_OF},
    "top_scores": _by_score("top_score", ">="),
    "low_scores": _by_score("low_score", "<"),
    **{f"{slot}_edges": f"(SELECT {slot}_edges FROM edged)" for slot in NUMBER_SLOTS},
    **{
        f"{slot}_ranks": f"(SELECT {ranks_of(slot, f'{slot}_edges')} FROM ordered, edged)"
        for slot in NUMBER_SLOTS
    },
    "marks": "(SELECT array_agg(id ORDER BY id) FROM numbered "
    f"WHERE nth %% {MARKED} = 1)",
}
SUMMARY = tuple(_SUMMARY)


def contents_of(model: str, low: str, high: str) -> str:
    """Return the SELECT of bounds and summary of these rows, as columns of a segment.

    The model and the two ids are SQL.
    """
    columns = (f"{value} AS {name}" for name, value in [*_BOUNDS, *_SUMMARY.items()])
    counts = (f"{_counts(column)} AS {column}_counts" for column in COUNTED)
    edges = (f"{edges_of(slot, BUCKETS)} AS {slot}_edges" for slot in NUMBER_SLOTS)
    return f"""
    WITH row AS MATERIALIZED (
        SELECT id, deleted, top_score, low_score, {", ".join(COUNTED)} FROM {ROW}
        WHERE model_key = {model} AND id BETWEEN {low} AND {high}
    ), live AS (
        SELECT * FROM row WHERE NOT deleted
    ), numbered AS (
        SELECT *, row_number() OVER (ORDER BY id) AS nth, count(*) OVER () AS live
        FROM live
    ), counted AS MATERIALIZED (
        SELECT {", ".join(counts)}
    ), ordered AS MATERIALIZED (
        SELECT {", ".join(map(_ordered, NUMBER_SLOTS))}
    ), edged AS MATERIALIZED (
        SELECT {", ".join(edges)} FROM ordered
    )
    SELECT {", ".join(columns)} FROM row"""


# One statement, so the touches that go and what is read come from one snapshot.
BUILD = f"""
WITH gone AS (
    DELETE FROM {TOUCH} WHERE model_key = %(model)s
    AND lowest_id <= %(high)s AND highest_id >= %(low)s
    RETURNING lowest_id, highest_id, keeps_bounds
), beside AS (  -- a touch of a segment that has been cut since
    INSERT INTO {TOUCH} (model_key, lowest_id, highest_id, keeps_bounds)
    SELECT DISTINCT %(model)s, lowest_id, %(before)s, keeps_bounds
    FROM gone WHERE lowest_id < %(low)s
    UNION ALL
    SELECT DISTINCT %(model)s, %(after)s, highest_id, keeps_bounds
    FROM gone WHERE highest_id > %(high)s
), sums AS (
    DELETE FROM {GROUP} WHERE model_key = %(model)s
    AND lowest_id <= %(high)s AND highest_id >= %(low)s
)
UPDATE {SEGMENT}
SET built_at = now(), ({", ".join([*(name for name, _ in _BOUNDS), *SUMMARY])}) = (
    {contents_of("%(model)s", "%(low)s", "%(high)s")})
WHERE model_key = %(model)s AND highest_id = %(high)s
"""
# Segments below the first remaining row describe nothing any more.
FORGET = f"""
WITH gone AS (
    DELETE FROM {SEGMENT} WHERE model_key = %(model)s AND highest_id < (
        SELECT min(id) FROM {ROW} WHERE model_key = %(model)s)
    RETURNING highest_id
), sums AS (
    DELETE FROM {GROUP} WHERE model_key = %(model)s
    AND lowest_id <= (SELECT max(highest_id) + 1 FROM gone)
)
UPDATE {SEGMENT} SET lowest_id = {FIRST} WHERE model_key = %(model)s
AND lowest_id = (SELECT max(highest_id) + 1 FROM gone)
"""


def seal() -> int:
    """Announce, wait and build for every model; return how many segments were built."""
    ended = time.monotonic() + RUN_SECONDS
    announce_all()
    # Read before the wait: a later announcement has writers that were not waited for.
    announced = announced_ids()
    if not wait_for_writers():
        return 0
    built, begun = 0, time.monotonic()
    for _ in chain.from_iterable(starmap(build_segments, announced)):
        built += 1
        if time.monotonic() > ended:
            break
    if built:
        logger.info("segments built: %d in %.1f s", built, time.monotonic() - begun)
    group_built(ended)
    return built


def group_built(ended: float = float("inf")) -> int:
    """Add up built segments in groups until the moment of the clock; return how many were made."""
    made = 0
    for model_key, _ in announced_ids():
        for _ in groups.group_segments(model_key):
            made += 1
            if time.monotonic() > ended:
                return made
    return made


def announce_all() -> None:
    """Announce a segment for each model that has enough new rows."""
    values = {"open": OPEN, "least": LEAST, "more": ROWS + OPEN}
    for model_key in _models():
        for low, high in _rows(READY, {**values, "model": model_key}):
            announce(model_key, low, high)


def announced_ids() -> list[tuple[int, int]]:
    """Return each model with segments, and the highest id that was announced."""
    found = []
    for model_key in _models():
        ((last,),) = _rows(ANNOUNCED, {"model": model_key})
        if last is not None:
            found.append((model_key, last))
    return found


def _models() -> list[int]:
    return list(RegisteredModel.objects.order_by("pk").values_list("pk", flat=True))


@transaction.atomic
def announce(model_key: int, low: int, high: int) -> None:
    """Insert a segment of these ids without bounds; nothing if another came before."""
    if low <= high and groups.lock_of(model_key).try_until_commit():
        _run(ANNOUNCE, {"model": model_key, "low": low, "high": high})


def wait_for_writers() -> bool:
    """Return whether all transactions that were writing inferences ended in time."""
    ended = time.monotonic() + WAIT_SECONDS
    left = writing = set(_rows(WRITING))
    while left:
        if time.monotonic() > ended:
            return False
        time.sleep(0.02)
        left = writing & set(_rows(WRITING))
    return True


def build_segments(model_key: int, last: int) -> Iterator[tuple[int, int]]:
    """Build the waiting segments of a model; yield the first and last id of each.

    ``last`` is the highest id whose announcement was waited for.
    """
    forget_empty(model_key)
    while (segment := _build_next(model_key, last)) is not None:
        yield segment


@transaction.atomic
def _build_next(model_key: int, last: int) -> tuple[int, int] | None:
    """Build one segment; None when nothing waits, or another builder holds the lock."""
    if not groups.lock_of(model_key).try_until_commit():
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
    """Delete the segments below the first remaining row; the next one takes over their ids."""
    if groups.lock_of(model_key).try_until_commit():
        _run(FORGET, {"model": model_key})


@transaction.atomic
def forget_value(model_key: int, slot: str, value: str | float) -> int:
    """Empty the segments that tell of this value of a slot; return how many there were.

    Call it when no row has the value any more. Rows are read instead of these segments until the
    next run has built them anew.
    """
    # Otherwise a builder that has read the rows before could write the value once more.
    groups.lock_of(model_key).wait_until_commit()
    text, tells, values, empty = "%s", "", [value], list[str]()
    if slot in NUMBER_SLOTS:
        kind = "bigint" if slot in SLOTS["integer"] else "float8"
        text = f"CAST(%s AS {kind})::text"
        tells = (
            f"OR CAST(%s AS {kind}) IN ({slot}_lowest, {slot}_highest) "
            f"OR CAST(%s AS {kind}) = ANY({slot}_edges)"
        )
        values = [value, value, value]
        empty = [f"{slot}_edges", f"{slot}_ranks"]
    empty += [
        f"{slot}_counts",
        f"{slot}_bits",
        *(name for name, _ in _BOUNDS if name.startswith(slot)),
    ]
    with connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE {SEGMENT} SET built_at = NULL, live = NULL, "
            f"{', '.join(f'{name} = NULL' for name in empty)} "
            f"WHERE model_key = %s AND ({slot}_counts ? {text} {tells})",
            [model_key, *values],
        )
        emptied: int = cursor.rowcount
    groups.forget_all(model_key)
    return emptied


def _rows(sql: str, values: dict[str, int] | None = None) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        rows: list[tuple[Any, ...]] = cursor.fetchall()
    return rows


def _run(sql: str, values: dict[str, int]) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
