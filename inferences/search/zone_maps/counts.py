"""Count with the summaries of segments: whole segments are added up, the rest is read.

A filter says by its ``Tally`` which live rows of a segment match, or that only the rows tell.
Segments, touches and rows are read by one statement, so by one snapshot. The rows of a segment
that was touched are read, and so are those at the edges of a window and the newest ones, which
are in no segment yet.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from django.db import connection

from inferences.models import Inference, RegisteredModel
from inferences.models.row_ids import LOWEST
from inferences.models.zone_maps import (
    BITS_OF,
    BUCKETS,
    MARKED,
    Segment,
    SegmentGroup,
    SegmentTouch,
)
from inferences.search.access_paths import Sql
from inferences.search.zone_maps.buckets import SlotRange, joined
from inferences.search.zone_maps.tallies import (
    HAS_A_BIT_EACH,
    LIVE,
    SCORES,
    UNKNOWN,
    Tally,
    bits_of_each,
    number_of_each,
    values_with_bits,
)

SEGMENT, TOUCH = Segment._meta.db_table, SegmentTouch._meta.db_table
GROUP = SegmentGroup._meta.db_table
TALLIES_MOST = 8  # with more conditions the rest is taken as unknown

SCORE_EDGES = f"'{{{','.join(map(repr, SCORES))}}}'::real[]"
# What of a row is counted, and the SQL that has to stand behind the table for it.
VALUES = {
    # Each label once a row.
    "labels": (
        "label",
        ", LATERAL (SELECT DISTINCT label FROM unnest(labels) AS label)",
    ),
    "scores": (f"width_bucket(score, {SCORE_EDGES})", ", unnest(scores) AS score"),
}

# Segments and groups of a window that nobody touched, each with the number of its rows that match
# and with a value. OFFSET 0 keeps the planner from writing out an expression wherever it is named.
TOUCHED = """
WITH touched AS MATERIALIZED (
    SELECT DISTINCT lowest_id, highest_id FROM {touch}
    WHERE model_key = %s AND lowest_id <= %s AND highest_id >= %s
)
"""
TOLD = """
    SELECT lowest_id, highest_id, live, number, value{columns}
    FROM ({source}) AS segment
    CROSS JOIN LATERAL (SELECT {tallies} OFFSET 0) AS told
    CROSS JOIN LATERAL (SELECT {number} AS number OFFSET 0) AS added_up
    {beside}
    CROSS JOIN LATERAL (SELECT {value} AS value OFFSET 0) AS valued
"""
UNTOUCHED = """
    AND live BETWEEN 0 AND {most} AND NOT EXISTS (
        SELECT FROM touched WHERE touched.lowest_id <= {table}.highest_id
        AND touched.highest_id >= {table}.lowest_id)
"""
# The newest ones, which are asked whether segments tell.
NEWEST = """
    SELECT {fields} FROM {table} WHERE model_key = %s AND lowest_id >= %s AND highest_id <= %s
    AND built_at IS NOT NULL {untouched} ORDER BY highest_id DESC LIMIT 20
"""
GROUPS = """
    SELECT {fields} FROM {table}
    WHERE model_key = %s AND lowest_id >= %s AND highest_id <= %s {untouched}
    AND {holds}
"""
# Of processes that know nothing of groups.
HOLDS = f"""
({GROUP}.segment_count, {GROUP}.built_at) = (
    SELECT count(member.built_at), max(member.built_at) FROM {SEGMENT} AS member
    WHERE member.model_key = {GROUP}.model_key
    AND member.highest_id BETWEEN {GROUP}.lowest_id AND {GROUP}.highest_id)
"""
# A group consists of whole segments, so those between two groups end and begin there.
BETWEEN_GROUPS = """
    SELECT between.* FROM free CROSS JOIN LATERAL (
        SELECT {fields} FROM {table} WHERE model_key = %s
        AND highest_id BETWEEN free.low AND free.high AND lowest_id >= free.low
        AND built_at IS NOT NULL {untouched} OFFSET 0) AS between
"""
# The ids of a window that are not in one of these pieces.
GAPS = """
    SELECT low, high FROM (
        SELECT coalesce(lag(highest_id) OVER (ORDER BY highest_id) + 1, %s), lowest_id - 1
        FROM {pieces}
        UNION ALL SELECT coalesce(max(highest_id) + 1, %s), %s FROM {pieces}
    ) AS between (low, high) WHERE low <= high
"""
# A segment has no more live rows: a number above it is damaged, and no bitmap is made of it.
LIVE_MOST = 100_000
GROUP_LIVE_MOST = 2**31 - 1
COUNT = """
SELECT coalesce((SELECT sum(number) FROM added), 0) + coalesce((
    SELECT sum(rows.number) FROM gap CROSS JOIN LATERAL ({rows}) AS rows (number)), 0)
"""
# Of pieces that do not tell their number by counts: what their buckets say. Ends that
# exclude each other give less than nothing.
COUNT_IN_BUCKETS = """
, bucketed AS MATERIALIZED (SELECT * FROM added WHERE number IS NULL)
, of_groups AS MATERIALIZED (SELECT * FROM bucketed WHERE is_group)
, of_segments AS MATERIALIZED (SELECT * FROM bucketed WHERE NOT is_group)
SELECT coalesce((SELECT sum(number) FROM added), 0)
+ greatest(0, coalesce((SELECT sum({below}) FROM bucketed), 0) {at_ends})
+ coalesce((
    SELECT sum(rows.number) FROM gap CROSS JOIN LATERAL ({rows}) AS rows (number)), 0)
"""
# Matches of a segment that lies in several parts: all of them belong to its first part, and at
# each limit within it those from there on move from the part before to the one behind. Of the live
# rows before a limit, marks count all but a few. A bitmap says which of them match.
OVER_TIME = """
, cut AS MATERIALIZED (
    SELECT edge, number - CASE number WHEN 0 THEN 0 WHEN live THEN rank
                          ELSE bit_count(substring(value FROM 1 FOR rank)) END AS behind
    FROM (SELECT DISTINCT edge FROM unnest({edges}) AS edge) AS limits
    JOIN (SELECT * FROM added WHERE first_part < last_part) AS segment
    ON lowest_id < edge AND edge <= highest_id
    CROSS JOIN LATERAL (
        SELECT width_bucket(edge - 1, marks) AS place OFFSET 0) AS marked
    CROSS JOIN LATERAL (
        SELECT CASE WHEN place = 0 THEN 0 ELSE {marked} * (place - 1) + (
            SELECT count(*) FROM {row} WHERE model_key = %s AND NOT deleted
            AND id >= marks[place] AND id < edge)::integer END AS rank OFFSET 0) AS ranked
)
SELECT first_part, sum(number) FROM added GROUP BY 1
UNION ALL SELECT width_bucket(edge, {edges}), behind FROM cut
UNION ALL SELECT width_bucket(edge - 1, {edges}), - behind FROM cut
UNION ALL SELECT rows.part, sum(rows.number)
FROM gap CROSS JOIN LATERAL ({rows}) AS rows (part, number) GROUP BY 1
"""
PARTS_OF_TIME = """
    CROSS JOIN LATERAL (SELECT width_bucket(lowest_id, {edges}) AS first_part,
                               width_bucket(highest_id, {edges}) AS last_part OFFSET 0) AS lies
"""
# The bitmap is needed only where a limit divides the matches of a segment.
DIVIDED = """
CASE WHEN first_part < last_part AND number NOT IN (0, live) THEN {bits} END
"""
DIVISIBLE = """
(first_part = last_part OR marks IS NOT NULL AND (number IN (0, live) OR value IS NOT NULL))
"""
BY_VALUE = """
SELECT each.key, sum(each.value::integer)
FROM added CROSS JOIN jsonb_each_text(added.value) AS each
GROUP BY 1 HAVING sum(each.value::integer) > 0
UNION ALL SELECT rows.value, sum(rows.number)
FROM gap CROSS JOIN LATERAL ({rows}) AS rows (value, number) GROUP BY 1
"""
TELLING = "SELECT count(*), count(*) FILTER (WHERE {usable}) FROM whole"
TELLING_BY_BUCKETS = """
SELECT count(*), count(*) FILTER (WHERE number IS NOT NULL),
       count(*) FILTER (WHERE number IS NULL AND is_bucketed),
       sum(filled_here) FILTER (WHERE number IS NULL AND is_bucketed),
       sum({below}) FILTER (WHERE number IS NULL AND is_bucketed) FROM whole
"""
# The counts of a column's values among the rows of a segment that match.
VALUED = """
CASE WHEN number IS NULL THEN NULL WHEN number = 0 THEN '{{}}'
     WHEN number = live THEN {column}_counts {else_}
END
"""
VALUED_BY_BITS = """
WHEN {column}_counts = '{{}}' THEN '{{}}'
WHEN {column}_bits IS NOT NULL THEN (
    SELECT CASE WHEN bool_and({fits}) THEN jsonb_object_agg(
        each.value, bit_count(CASE WHEN {fits} THEN each.bits & matching.bits END)) END
    FROM (SELECT {bits} AS bits OFFSET 0) AS matching, {values}
    WHERE matching.bits IS NOT NULL)
"""
CACHE_SECONDS, CACHE_ENTRIES = 60, 1000
_cached_until: dict[int, float] = {}  # questions of ``SegmentSum.tells``, by their hash
SEGMENTS_LEAST = 8  # with fewer in a window, its rows are read as fast
SHARE_LEAST = (
    0.05  # of the values in a range; fewer rows are read as fast by their index
)
ROW = Inference._meta.db_table
KNOWN = "number IS NOT NULL"
VALUE_KNOWN = f"{KNOWN} AND value IS NOT NULL"
NOTHING = Sql("")
NO_VALUE = Sql("NULL")
GAP = Sql(" AND id BETWEEN gap.low AND gap.high")  # the ids to read, as a window
_FIELDS = {each.column: each for each in Segment._meta.concrete_fields}
_OF_GROUPS = {each.column for each in SegmentGroup._meta.concrete_fields}
_ALWAYS = {"lowest_id", "highest_id", "live"}


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a statement reads of each segment or group, besides the number of its matches.

    ``value`` and the joins ``beside`` it are of a segment, ``of_group`` is the value of a group.
    Of neither is more used than the rows that are ``usable``, a test.
    """

    value: Sql = NO_VALUE
    of_group: Sql = NO_VALUE
    beside: Sql = NOTHING
    columns: str = ""
    usable: str = KNOWN
    usable_groups: str = KNOWN


NUMBERS = Wanted()


@dataclass(frozen=True, slots=True)
class SegmentSum:
    """What is counted: the live rows of a model within a window that pass all conditions.

    There is one tally for each condition, None where summaries do not tell.
    """

    model: RegisteredModel
    tallies: Sequence[Tally | None]
    lowest: int | None
    highest: int | None

    def tells(self) -> bool:
        """Return whether half of the segments tell how many rows match, so that adding up pays.

        Where they do not, the statements for all rows have better plans.
        """
        return (not self.tallies or any(self.tallies)) and self._tells(0.5)

    def tells_of(self, column: str) -> bool:
        """Return whether nearly all segments count the values of the matches in the column."""
        return self._tells(0.9, self._values_of(column))

    def tells_by_buckets(self) -> bool:
        """Return whether a range of numbers is all that is asked, and buckets tell it.

        A range in which few values lie is read by its index.
        """
        within = self._within
        if within is None:
            return False

        def ask() -> bool:
            if self._is_narrow():
                return False
            telling = Sql(TELLING_BY_BUCKETS.replace("{below}", within.below))
            found = self._of_newest(telling, self._bucketed(within))
            ((segments, told, bucketed, filled, below),) = found or [(0, 0, 0, 0, 0)]
            if segments < SEGMENTS_LEAST or 2 * (told + bucketed) < segments:
                return False
            return bool(told >= bucketed or below >= SHARE_LEAST * filled)

        return self._remembered("buckets", ask)

    def _is_narrow(self) -> bool:
        """Return whether the window has fewer rows than a bucket of the whole model.

        The rows at the end of a range are found by their number: those outside of the window, too.
        """
        if self.lowest is None and self.highest is None:
            return False
        low, high = self._window
        segments = Segment.objects.filter(registered_model=self.model)
        within = segments.filter(lowest_id__gte=low, highest_id__lte=high).count()
        return within * BUCKETS < segments.count()

    def _tells(self, share: float, wanted: Wanted = NUMBERS) -> bool:
        """Return whether this share of the newest segments tells."""

        def ask() -> bool:
            telling = Sql(TELLING.replace("{usable}", wanted.usable))
            ((segments, telling_ones),) = self._of_newest(telling, wanted) or [(0, 0)]
            return bool(segments >= SEGMENTS_LEAST and telling_ones >= share * segments)

        return self._remembered(wanted.value, ask)

    def _remembered(self, about: object, ask: Callable[[], bool]) -> bool:
        """Return the answer of a question about these conditions.

        It decides nothing but the way, so a yes holds for a while: who asks for a count often
        asks again.
        """
        # A filter may be long, and its hash is not. Two of one hash do no harm.
        key = hash(repr((self.model.pk, self.tallies, self._window, about)))
        now = time.monotonic()
        if now < _cached_until.get(key, now):
            return True
        if tells := ask():
            if len(_cached_until) >= CACHE_ENTRIES:
                _cached_until.clear()
            _cached_until[key] = now + CACHE_SECONDS
        return tells

    def count(self, rows: Sql) -> int:
        """Return how many rows match. ``rows`` is the SELECT of their number in a ``GAP``."""
        ((number,),) = self._add_up(Sql(COUNT), rows, NUMBERS) or [(0,)]
        return int(number)

    def count_in_buckets(self, rows: Sql) -> int:
        """Return how many rows match, where ``tells_by_buckets``."""
        within = self._within
        assert within is not None
        at_ends, values = "", list[Any]()
        for end in within.ends:
            for pieces in ("of_groups", "of_segments"):
                counted = within.rows_at(end, pieces, self.model.pk)
                at_ends += (" - " if end[0] == "low" else " + ") + counted.sql
                values += counted.values
        sql = COUNT_IN_BUCKETS.replace("{below}", within.below)
        result = Sql(sql.replace("{at_ends}", at_ends), tuple(values))
        ((number,),) = self._add_up(result, rows, self._bucketed(within)) or [(0,)]
        return int(number)

    @property
    def _within(self) -> SlotRange | None:
        """The one range of numbers that is all that is asked."""
        return joined([tally.within if tally else None for tally in self.tallies])

    def _bucketed(self, within: SlotRange) -> Wanted:
        usable = "(number IS NOT NULL OR is_bucketed)"
        beside = within.pieces()
        return Wanted(
            beside=beside,
            columns=within.columns,
            usable=usable,
            usable_groups=usable,
        )

    def over_time(self, limits: Sequence[int], rows: Sql) -> list[int]:
        """Return how many rows match from each id to before the next one.

        ``rows`` is the SELECT of the numbers by ``width_bucket(id, limits)``.
        """
        edges = f"'{{{','.join(map(str, limits))}}}'::bigint[]"
        bits = bits_of_each(self._told)
        wanted = Wanted(
            value=Sql(DIVIDED.replace("{bits}", bits.sql), bits.values),
            of_group=Sql("NULL::varbit"),
            beside=Sql(PARTS_OF_TIME.replace("{edges}", edges)),
            columns=", first_part, last_part, marks",
            usable=f"{KNOWN} AND {DIVISIBLE}",
            usable_groups=f"{KNOWN} AND first_part = last_part",
        )
        over_time = OVER_TIME.replace("{edges}", edges)
        result = Sql(over_time.replace("{marked}", str(MARKED)), (self.model.pk,))
        found: Counter[int] = Counter()
        for part, number in self._add_up(result, rows, wanted):
            found[part] += int(number)
        return [found[part] for part in range(1, len(limits))]

    def by_value(self, column: str, rows: Sql) -> Counter[str]:
        """Return how many rows have each value of a column that segments count, as text."""
        found = Counter[str]()
        for name, number in self._add_up(Sql(BY_VALUE), rows, self._values_of(column)):
            found[name] += int(number)
        return found

    def _values_of(self, column: str) -> Wanted:
        """Return the counts of a column's values among the matches of a segment."""
        plain = Sql(VALUED.format(column=column, else_=""))
        if column not in BITS_OF or not self.tallies:
            return Wanted(plain, plain, usable=VALUE_KNOWN, usable_groups=VALUE_KNOWN)
        bits = bits_of_each(self._told)
        by_bits = VALUED_BY_BITS.format(
            column=column,
            bits=bits.sql,
            values=values_with_bits(column),
            fits=HAS_A_BIT_EACH,
        )
        value = Sql(VALUED.format(column=column, else_=by_bits), bits.values)
        return Wanted(value, plain, usable=VALUE_KNOWN, usable_groups=VALUE_KNOWN)

    @property
    def _told(self) -> list[Tally]:
        """Return the tallies that a statement has, at least one and no more than it may have."""
        told = [tally or UNKNOWN for tally in self.tallies[:TALLIES_MOST]] or [LIVE]
        return told + [UNKNOWN] * (len(self.tallies) > TALLIES_MOST)

    @property
    def _window(self) -> tuple[int, int]:
        low = LOWEST + 1 if self.lowest is None else self.lowest
        return low, -LOWEST - 1 if self.highest is None else self.highest

    def _of_newest(self, result: Sql, wanted: Wanted) -> list[tuple[Any, ...]]:
        """Return the rows of a result over the newest segments, ``whole``."""
        low, high = self._window
        newest = self._pieces(NEWEST, wanted, (self.model.pk, low, high))
        return self._run(Sql(f", whole AS ({newest.sql})", newest.values), result)

    def _add_up(self, result: Sql, rows: Sql, wanted: Wanted) -> list[tuple[Any, ...]]:
        """Return the rows of a result over all pieces, ``added``, and the rows in each ``gap``.

        Pieces are groups, and the segments of no group that can be used.
        """
        low, high = self._window
        groups = self._pieces(
            GROUPS, wanted, (self.model.pk, low, high), of_groups=True
        )
        segments = self._pieces(BETWEEN_GROUPS, wanted, (self.model.pk,))
        gaps = (low, low, high)
        pieces = Sql(
            f", grouped AS MATERIALIZED (SELECT *, true AS is_group FROM ({groups.sql}) "
            f"AS sums WHERE {wanted.usable_groups}), free AS MATERIALIZED ("
            f"{GAPS.replace('{pieces}', 'grouped')}), added AS MATERIALIZED ("
            f"SELECT * FROM grouped UNION ALL SELECT *, false FROM ({segments.sql}) "
            f"AS segments WHERE {wanted.usable}), gap AS ("
            f"{GAPS.replace('{pieces}', 'added')})",
            groups.values + gaps + segments.values + gaps,
        )
        sql = result.sql.replace("{rows}", rows.sql)
        return self._run(pieces, Sql(sql, result.values + rows.values))

    def _pieces(
        self,
        source: str,
        wanted: Wanted,
        values: tuple[Any, ...],
        *,
        of_groups: bool = False,
    ) -> Sql:
        """Return the SELECT of segments, or of groups, with the number of their matches."""
        told = self._told
        value = wanted.of_group if of_groups else wanted.value
        number = number_of_each(told, by_bits=not of_groups)
        for tally in told:
            values += tally.number.values
        tallies = tuple(tally.number.sql for tally in told)
        names = (number.sql, value.sql, wanted.beside.sql, wanted.columns)
        return Sql(
            _write_out(source, tallies, *names, of_groups),
            values + number.values + wanted.beside.values + value.values,
        )

    def _run(self, pieces: Sql, result: Sql) -> list[tuple[Any, ...]]:
        low, high = self._window
        if low > high:
            return []
        statement = TOUCHED.replace("{touch}", TOUCH) + pieces.sql + result.sql
        values = (self.model.pk, high, low, *pieces.values, *result.values)
        with connection.cursor() as cursor:
            cursor.execute(statement.replace("{row}", ROW), values)
            found: list[tuple[Any, ...]] = cursor.fetchall()
        return found


@lru_cache(256)
def _write_out(
    source: str,
    tallies: tuple[str, ...],
    number: str,
    value: str,
    beside: str,
    columns: str,
    of_groups: bool,
) -> str:
    told = ", ".join(f"({each}) AS told_{n}" for n, each in enumerate(tallies))
    named = set(re.findall(r"\w+", " ".join((told, number, value, beside, columns))))
    wanted = sorted(_ALWAYS | named & _FIELDS.keys())
    statement = TOLD.replace("{source}", source)
    for name, sql in {
        "untouched": UNTOUCHED,
        "fields": ", ".join(_field(each, of_groups) for each in wanted),
        "most": str(GROUP_LIVE_MOST if of_groups else LIVE_MOST),
        "table": GROUP if of_groups else SEGMENT,
        "holds": HOLDS,
        "number": number,
        "tallies": told,
        "beside": beside,
        "value": value,
        "columns": columns,
    }.items():
        statement = statement.replace(f"{{{name}}}", sql)
    return statement


def _field(column: str, of_groups: bool) -> str:
    """Return SQL for a column of a segment; null for one that a group does not have."""
    if not of_groups or column in _OF_GROUPS:
        return column
    return f"NULL::{_FIELDS[column].db_type(connection)} AS {column}"


def value_of(column: str) -> tuple[str, str]:
    """Return what of a column is counted, and the SQL behind the table that it needs."""
    # Adding 0 makes zeros of minus zeros, which would be another key of the same number.
    plain = f"({column} + 0)" if column.startswith("float") else column
    return VALUES.get(column, (plain, ""))
