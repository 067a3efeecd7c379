"""Group segments: sums of consecutive ones, so that a count of all reads few of them.

A group is made of segments that are built and untouched, in one statement and so from one
snapshot. Whoever builds one of them anew, or removes it, deletes the group in the same
transaction, under the lock of the model's builder; the next run makes it again. Processes of an older release do
not: a group counts only while it ``HOLDS``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from django.db import connection, transaction

from inferences.models import SLOTS, Inference
from inferences.models.zone_maps import (
    COUNTED,
    GROUP_BUCKETS,
    GROUP_VALUES_MOST,
    SCORE_PARTS,
    Segment,
    SegmentGroup,
    SegmentTouch,
)
from inferences.search.zone_maps.buckets import edges_of, ranks_of
from inferences.search.zone_maps.counts import HOLDS, LIVE_MOST, value_of
from istore.db.advisory_lock import AdvisoryLock

SIZE = 32  # segments of a group
NUMBER_SLOTS = [*SLOTS["integer"], *SLOTS["float"]]
ROW, SEGMENT = Inference._meta.db_table, Segment._meta.db_table
TOUCH, GROUP = SegmentTouch._meta.db_table, SegmentGroup._meta.db_table

Ids = tuple[int, int]  # of a segment, both ends included

# The segments of no group, whether each could be in one, and whether a group begins behind it.
FREE = f"""
SELECT lowest_id, highest_id, built_at IS NOT NULL AND coalesce(live BETWEEN 0 AND {LIVE_MOST}, false)
    AND NOT EXISTS (
    SELECT FROM {TOUCH} AS touch WHERE touch.model_key = %(model)s
    AND touch.lowest_id <= segment.highest_id AND touch.highest_id >= segment.lowest_id),
    EXISTS (SELECT FROM {GROUP} AS sums WHERE sums.model_key = %(model)s
            AND sums.lowest_id = segment.highest_id + 1)
FROM {SEGMENT} AS segment WHERE model_key = %(model)s AND NOT EXISTS (
    SELECT FROM {GROUP} AS sums WHERE sums.model_key = %(model)s
    AND sums.highest_id >= segment.highest_id AND sums.lowest_id <= segment.highest_id)
ORDER BY highest_id
"""


def _counts(column: str) -> str:
    most = GROUP_VALUES_MOST if column != "scores" else SCORE_PARTS + 3
    return f"""
    CASE WHEN (SELECT bool_and({column}_counts IS NOT NULL) FROM member) THEN (
        SELECT CASE WHEN count(*) <= {most}
                    THEN coalesce(jsonb_object_agg(key, number), '{{}}') END
        FROM (SELECT each.key, sum(each.value::integer) AS number
              FROM member CROSS JOIN jsonb_each_text({column}_counts) AS each
              GROUP BY 1 LIMIT {most + 1}) AS each)
    END"""


def _sum_of_arrays(column: str) -> str:
    return f"""(
    SELECT array_agg(number ORDER BY part) FROM (
        SELECT part, sum(number)::integer AS number
        FROM member, unnest({column}) WITH ORDINALITY AS each (number, part)
        GROUP BY part) AS each)"""


def _ordered(slot: str, model: str, low: str, high: str) -> str:
    value, _ = value_of(slot)
    return f"""
    CASE WHEN (SELECT {slot}_counts FROM counted) IS NULL THEN (
        SELECT array_agg({value} ORDER BY {slot}) FROM {ROW} WHERE model_key = {model}
        AND id BETWEEN {low} AND {high} AND NOT deleted AND {slot} IS NOT NULL)
    END AS {slot}"""


_FILLED = ", ".join(
    f"'{slot}', sum((filled ->> '{slot}')::integer)" for slot in NUMBER_SLOTS
)
_SUMS = {
    **{f"{slot}_lowest": f"min({slot}_lowest)" for slot in NUMBER_SLOTS},
    **{f"{slot}_highest": f"max({slot}_highest)" for slot in NUMBER_SLOTS},
    "segment_count": "count(*)::integer",
    "built_at": "max(built_at)",
    "live": "sum(live)::integer",
    "filled": f"jsonb_build_object({_FILLED})",
    **{f"{c}_counts": f"(SELECT {c}_counts FROM counted)" for c in COUNTED},
    **{f"{c}_scores": _sum_of_arrays(f"{c}_scores") for c in ("top", "low")},
    **{f"{slot}_edges": f"(SELECT {slot}_edges FROM edged)" for slot in NUMBER_SLOTS},
    **{
        f"{slot}_ranks": f"(SELECT {ranks_of(slot, f'{slot}_edges')} FROM ordered, edged)"
        for slot in NUMBER_SLOTS
    },
}
COLUMNS = tuple(_SUMS)


def sums_of(model: str, low: str, high: str) -> str:
    """Return the SELECT of the sums of the segments in these ids, as columns of a group.

    The model and the two ids are SQL. There is no row unless the segments cover the ids, all of
    them are built and none is touched. A number of live rows that no segment can have is damaged:
    it is not added up, which could overflow.
    """
    edges = (
        f"{edges_of(slot, GROUP_BUCKETS)} AS {slot}_edges" for slot in NUMBER_SLOTS
    )
    return f"""
    WITH member AS MATERIALIZED (
        SELECT * FROM {SEGMENT} WHERE model_key = {model}
        AND highest_id BETWEEN {low} AND {high}
    ), counted AS MATERIALIZED (
        SELECT {", ".join(f"{_counts(column)} AS {column}_counts" for column in COUNTED)}
    ), ordered AS MATERIALIZED (
        SELECT {", ".join(_ordered(slot, model, low, high) for slot in NUMBER_SLOTS)}
    ), edged AS MATERIALIZED (
        SELECT {", ".join(edges)} FROM ordered
    )
    SELECT {", ".join(f"{value} AS {name}" for name, value in _SUMS.items())}
    FROM member
    HAVING bool_and(
        built_at IS NOT NULL AND coalesce(live BETWEEN 0 AND {LIVE_MOST}, false))
    AND min(lowest_id) = {low} AND max(highest_id) = {high}
    AND sum(highest_id::numeric - lowest_id + 1) = {high}::numeric - {low} + 1
    AND NOT EXISTS (
        SELECT FROM {TOUCH} AS touch WHERE touch.model_key = {model}
        AND touch.lowest_id <= {high} AND touch.highest_id >= {low})"""


MAKE = f"""
INSERT INTO {GROUP} (model_key, lowest_id, highest_id, {", ".join(COLUMNS)})
SELECT %(model)s, %(low)s, %(high)s, {", ".join(COLUMNS)}
FROM ({sums_of("%(model)s", "%(low)s", "%(high)s")}) AS sums
WHERE NOT EXISTS (
    SELECT FROM {GROUP} WHERE model_key = %(model)s
    AND lowest_id <= %(high)s AND highest_id >= %(low)s)
"""


def group_segments(model_key: int) -> Iterator[Ids]:
    """Make groups of the segments that are in none; yield the first and last id of each.

    Groups whose segments an older release built or removed go before.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            f"DELETE FROM {GROUP} WHERE model_key = %s AND NOT {HOLDS}", [model_key]
        )
        cursor.execute(FREE, {"model": model_key})
        free = cursor.fetchall()
    for low, high in _ranges(free):
        if _make(model_key, low, high):
            yield low, high


@transaction.atomic
def _make(model_key: int, low: int, high: int) -> bool:
    """Make one group; False if another builder works, or a segment was touched meanwhile."""
    if not lock_of(model_key).try_until_commit():
        return False
    with connection.cursor() as cursor:
        cursor.execute(MAKE, {"model": model_key, "low": low, "high": high})
        made: int = cursor.rowcount
    return made > 0


def forget_all(model_key: int) -> None:
    """Delete the groups of a model, whose sums may tell of an erased value.

    The caller holds the lock of the model's builder until it commits.
    """
    with connection.cursor() as cursor:
        cursor.execute(f"DELETE FROM {GROUP} WHERE model_key = %s", [model_key])


def lock_of(model_key: int) -> AdvisoryLock:
    """Return the lock of the builder of this model's segments and groups."""
    return AdvisoryLock("inferences.search.zone_maps", model_key)


def _ranges(free: Sequence[tuple[int, int, bool, bool]]) -> Iterator[Ids]:
    """Yield the ids of the groups to make, of the free segments in ascending order.

    Consecutive segments before an existing group are shared out evenly, for there never come
    more. Behind the last group, and before a segment that waits to be built, only full groups
    are made.
    """
    run: list[Ids] = []
    for low, high, is_usable, is_before_a_group in free:
        if run and not (is_usable and run[-1][1] + 1 == low):
            yield from _parts(run, is_bounded=False)
            run = []
        if is_usable:
            run.append((low, high))
            if is_before_a_group:
                yield from _parts(run, is_bounded=True)
                run = []
    yield from _parts(run, is_bounded=False)


def _parts(run: Sequence[Ids], *, is_bounded: bool) -> Iterator[Ids]:
    if is_bounded:
        count = -(-len(run) // SIZE)
        ends = [len(run) * number // count for number in range(count + 1)]
    else:
        ends = list(range(0, len(run) + 1, SIZE))
    for begin, end in pairwise(ends):
        if end - begin > 1:
            yield run[begin][0], run[end - 1][1]
