"""Count with the summaries of segments: whole segments are added up, the rest is read.

A filter says by its ``Tally`` which live rows of a segment match, or that only the rows tell.
Segments, touches and rows are read by one statement, so by one snapshot. The rows of a segment
that was touched are read, and so are those at the edges of a window and the newest ones, which
are in no segment yet.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from django.db import connection

from inferences.models import RegisteredModel
from inferences.models.row_ids import LOWEST
from inferences.models.zone_maps import BITS_OF, Segment, SegmentTouch
from inferences.search.access_paths import Sql
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

# The segments of a window that nobody touched, each with the number of its rows that match and
# with a value. OFFSET 0 keeps the planner from writing out an expression wherever it is named.
SEGMENTS = """
WITH touched AS MATERIALIZED (
    SELECT DISTINCT lowest_id, highest_id FROM {touch}
    WHERE model_key = %s AND lowest_id <= %s AND highest_id >= %s
), whole AS MATERIALIZED (
    SELECT lowest_id, highest_id, number, value
    FROM (
        SELECT * FROM {segment}
        WHERE model_key = %s AND lowest_id >= %s AND highest_id <= %s
        AND built_at IS NOT NULL AND live BETWEEN 0 AND {most}
        AND NOT EXISTS (
            SELECT FROM touched WHERE touched.lowest_id <= {segment}.highest_id
            AND touched.highest_id >= {segment}.lowest_id)
        {which}
    ) AS segment
    CROSS JOIN LATERAL (SELECT {tallies} OFFSET 0) AS told
    CROSS JOIN LATERAL (SELECT {number} AS number OFFSET 0) AS added_up
    CROSS JOIN LATERAL (SELECT {value} AS value OFFSET 0) AS valued
)
"""
# No segment has so many live rows: a number above it is damaged, and no bitmap is made of it.
LIVE_MOST = 100_000
ALL = "OFFSET 0"
NEWEST = "ORDER BY highest_id DESC LIMIT 20"  # which are asked whether segments tell
# Adds up ``added``, the segments that tell their ``number``, and reads the rows between them.
PARTS = """
, added AS MATERIALIZED (
    SELECT * FROM whole WHERE number IS NOT NULL AND {usable}
), gap AS (
    SELECT low, high FROM (
        SELECT coalesce(lag(highest_id) OVER (ORDER BY highest_id) + 1, %s),
               lowest_id - 1
        FROM added
        UNION ALL SELECT coalesce(max(highest_id) + 1, %s), %s FROM added
    ) AS between (low, high) WHERE low <= high
)
"""
COUNT = """
SELECT coalesce((SELECT sum(number) FROM added), 0) + coalesce((
    SELECT sum(rows.number) FROM gap CROSS JOIN LATERAL ({rows}) AS rows (number)), 0)
"""
OVER_TIME = """
SELECT value, sum(number) FROM added GROUP BY 1
UNION ALL SELECT rows.part, sum(rows.number)
FROM gap CROSS JOIN LATERAL ({rows}) AS rows (part, number) GROUP BY 1
"""
BY_VALUE = """
SELECT each.key, sum(each.value::integer)
FROM added CROSS JOIN jsonb_each_text(added.value) AS each
GROUP BY 1 HAVING sum(each.value::integer) > 0
UNION ALL SELECT rows.value, sum(rows.number)
FROM gap CROSS JOIN LATERAL ({rows}) AS rows (value, number) GROUP BY 1
"""
TELLING = """
SELECT count(*), count(*) FILTER (WHERE number IS NOT NULL AND {usable}) FROM whole
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
ENDS = ("lowest_id", "highest_id")
NO_VALUE = Sql("NULL")
GAP = Sql(" AND id BETWEEN gap.low AND gap.high")  # the ids to read, as a window


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
        return self._tells(0.9, self._values_of(column), "value IS NOT NULL")

    def _tells(self, share: float, value: Sql = NO_VALUE, usable: str = "true") -> bool:
        """Return whether this share of the newest segments tells.

        The answer decides nothing but the way, so a yes holds for a while: who asks for a count
        often asks again.
        """
        # A filter may be long, and its hash is not. Two of one hash do no harm.
        key = hash(repr((self.model.pk, self.tallies, self._window, value)))
        now = time.monotonic()
        if now < _cached_until.get(key, now):
            return True
        telling = TELLING.replace("{usable}", usable)
        found = self._run(NEWEST, telling, value)
        ((segments, telling),) = found or [(0, 0)]
        tells = bool(segments >= SEGMENTS_LEAST and telling >= share * segments)
        if tells:
            if len(_cached_until) >= CACHE_ENTRIES:
                _cached_until.clear()
            _cached_until[key] = now + CACHE_SECONDS
        return tells

    def count(self, rows: Sql) -> int:
        """Return how many rows match. ``rows`` is the SELECT of their number in a ``GAP``."""
        ((number,),) = self._add_up(COUNT, rows) or [(0,)]
        return int(number)

    def over_time(self, limits: Sequence[int], rows: Sql) -> list[int]:
        """Return how many rows match from each id to before the next one.

        ``rows`` is the SELECT of the numbers by ``width_bucket(id, limits)``.
        """
        edges = f"'{{{','.join(map(str, limits))}}}'::bigint[]"
        low, high = (f"width_bucket({each}, {edges})" for each in ENDS)
        found: Counter[int] = Counter()
        parts = self._add_up(OVER_TIME, rows, Sql(low), f"value = {high}")
        for part, number in parts:
            found[part] += int(number)
        return [found[part] for part in range(1, len(limits))]

    def by_value(self, column: str, rows: Sql) -> Counter[str]:
        """Return how many rows have each value of a column that segments count, as text."""
        found, values = Counter[str](), self._values_of(column)
        for name, number in self._add_up(BY_VALUE, rows, values, "value IS NOT NULL"):
            found[name] += int(number)
        return found

    def _values_of(self, column: str) -> Sql:
        """Return SQL for the counts of a column's values among the matches of a segment."""
        if column not in BITS_OF or not self.tallies:
            return Sql(VALUED.format(column=column, else_=""))
        bits = bits_of_each(self._told)
        by_bits = VALUED_BY_BITS.format(
            column=column,
            bits=bits.sql,
            values=values_with_bits(column),
            fits=HAS_A_BIT_EACH,
        )
        return Sql(VALUED.format(column=column, else_=by_bits), bits.values)

    def _add_up(
        self, result: str, rows: Sql, value: Sql = NO_VALUE, usable: str = "true"
    ) -> list[tuple[Any, ...]]:
        low, high = self._window
        statement = (PARTS + result).replace("{usable}", usable)
        gaps = (low, low, high, *rows.values)
        return self._run(ALL, statement.replace("{rows}", rows.sql), value, gaps)

    @property
    def _told(self) -> list[Tally]:
        """Return the tallies that a statement has, at least one and no more than it may have."""
        told = [tally or UNKNOWN for tally in self.tallies[:TALLIES_MOST]] or [LIVE]
        return told + [UNKNOWN] * (len(self.tallies) > TALLIES_MOST)

    @property
    def _window(self) -> tuple[int, int]:
        low = LOWEST + 1 if self.lowest is None else self.lowest
        return low, -LOWEST - 1 if self.highest is None else self.highest

    def _run(
        self, which: str, result: str, value: Sql, after: Sequence[Any] = ()
    ) -> list[tuple[Any, ...]]:
        """Return the rows of a result over the segments within the window."""
        low, high = self._window
        if low > high:
            return []
        told = self._told
        number = number_of_each(told)
        values = [self.model.pk, high, low, self.model.pk, low, high]
        values += [each for tally in told for each in tally.number.values]
        values += [*number.values, *value.values, *after]
        tallies = tuple(tally.number.sql for tally in told)
        statement = SEGMENTS.replace("{which}", which) + result
        with connection.cursor() as cursor:
            cursor.execute(
                _write_out(statement, tallies, number.sql, value.sql), values
            )
            found: list[tuple[Any, ...]] = cursor.fetchall()
        return found


@lru_cache(256)
def _write_out(
    statement: str, tallies: tuple[str, ...], number: str, value: str
) -> str:
    told = ", ".join(f"({each}) AS told_{n}" for n, each in enumerate(tallies))
    for name, sql in {
        "most": str(LIVE_MOST),
        "touch": TOUCH,
        "segment": SEGMENT,
        "number": number,
        "tallies": told,
        "value": value,
    }.items():
        statement = statement.replace(f"{{{name}}}", sql)
    return statement


def value_of(column: str) -> tuple[str, str]:
    """Return what of a column is counted, and the SQL behind the table that it needs."""
    # Adding 0 makes zeros of minus zeros, which would be another key of the same number.
    plain = f"({column} + 0)" if column.startswith("float") else column
    return VALUES.get(column, (plain, ""))
