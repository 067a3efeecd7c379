"""Count with the summaries of segments: whole segments are added up, the rest is read.

A filter says by its ``tally`` how many live rows of a segment match: an SQL expression over the
columns of ``Segment``, which is null where only the rows tell. Segments, touches and rows are
read by one statement, so by one snapshot. A segment that was touched is read, and so are the
rows at the edges of a window and the newest ones, which are in no segment yet.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from django.db import connection

from inferences.models import RegisteredModel
from inferences.models.row_ids import LOWEST
from inferences.models.zone_maps import SCORE_PARTS, Segment, SegmentTouch
from inferences.real_numbers import as_real
from inferences.search.access_paths import Sql

SEGMENT, TOUCH = Segment._meta.db_table, SegmentTouch._meta.db_table
LIVE = Sql("live")
UNKNOWN = Sql("NULL::integer")
TALLIES_MOST = 8  # with more conditions the rest is taken as unknown

# Where the parts of scores begin, as four-byte floats. Part 0 is below 0, the last but one
# is the score 1, and the last one is above.
SCORES = [as_real(number / SCORE_PARTS) for number in range(SCORE_PARTS + 1)]
SCORES.append(1 + 2**-23)
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

OPERATORS = {"exact": "=", "lt": "<", "lte": "<=", "gt": ">", "gte": ">="}
# Whether each, and whether no number of a segment passes, by its bounds.
WHOLE = {
    "exact": "{0}_lowest = %s AND {0}_highest = %s",
    "lt": "{0}_highest < %s",
    "lte": "{0}_highest <= %s",
    "gt": "{0}_lowest > %s",
    "gte": "{0}_lowest >= %s",
}
NONE = {
    "exact": "{0}_lowest > %s OR {0}_highest < %s",
    "lt": "{0}_lowest >= %s",
    "lte": "{0}_lowest > %s",
    "gt": "{0}_highest <= %s",
    "gte": "{0}_highest < %s",
}

# Adds up ``added``, the segments that tell their ``number``, and reads the rows between them.
PARTS = """
WITH touched AS MATERIALIZED (
    SELECT DISTINCT lowest_id, highest_id FROM {touch}
    WHERE model_key = %s AND lowest_id <= %s AND highest_id >= %s
), whole AS MATERIALIZED (
    SELECT {segment}.*, {number} AS number
    FROM {segment} CROSS JOIN LATERAL (SELECT {tallies}) AS told
    WHERE model_key = %s AND lowest_id >= %s AND highest_id <= %s
    AND built_at IS NOT NULL AND live IS NOT NULL
    AND NOT EXISTS (
        SELECT FROM touched WHERE touched.lowest_id <= {segment}.highest_id
        AND touched.highest_id >= {segment}.lowest_id)
), added AS MATERIALIZED (
    SELECT lowest_id, highest_id, number, {value} AS value
    FROM whole WHERE number IS NOT NULL AND {usable}
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
FROM added CROSS JOIN jsonb_each_text(added.value) AS each WHERE number > 0 GROUP BY 1
UNION ALL SELECT rows.value, sum(rows.number)
FROM gap CROSS JOIN LATERAL ({rows}) AS rows (value, number) GROUP BY 1
"""
TELLING = """
SELECT count(*), count({number})
FROM {segment} CROSS JOIN LATERAL (SELECT {tallies}) AS told
WHERE model_key = %s AND lowest_id >= %s AND highest_id <= %s
AND built_at IS NOT NULL AND live IS NOT NULL
"""
CACHE_SECONDS, CACHE_ENTRIES = 60, 1000
_cached_until: dict[int, float] = {}  # questions of ``SegmentSum.tells``, by their hash
SEGMENTS_LEAST = 8  # with fewer in a window, its rows are read as fast
ENDS = ("lowest_id", "highest_id")
GAP = Sql(" AND id BETWEEN gap.low AND gap.high")  # the ids to read, as a window


@dataclass(frozen=True, slots=True)
class SegmentSum:
    """What is counted: the live rows of a model within a window that pass all conditions.

    There is one tally for each condition, None where summaries do not tell.
    """

    model: RegisteredModel
    tallies: Sequence[Sql | None]
    lowest: int | None
    highest: int | None

    def tells(self, share: float = 0.5) -> bool:
        """Return whether this share of the segments tells, so that adding up pays.

        Where they do not, the statements for all rows have better plans. The answer decides
        nothing but the way, so a yes holds for a while: who asks for a count often asks again.
        """
        if self.tallies and not any(self.tallies):
            return False
        # A filter may be long, and its hash is not. Two of one hash do no harm.
        key = hash(repr((self.model.pk, self.tallies, self._window, share)))
        now = time.monotonic()
        if now < _cached_until.get(key, now):
            return True
        ((segments, telling),) = self._run(TELLING) or [(0, 0)]
        tells = bool(segments >= SEGMENTS_LEAST and telling >= share * segments)
        if tells:
            if len(_cached_until) >= CACHE_ENTRIES:
                _cached_until.clear()
            _cached_until[key] = now + CACHE_SECONDS
        return tells

    def tells_of(self, column: str) -> bool:
        """Return whether nearly all segments count the values of the column."""
        number = f"CASE WHEN {column}_counts IS NOT NULL THEN live END"
        return replace(self, tallies=[Sql(number)]).tells(0.9)

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
        for part, number in self._add_up(OVER_TIME, rows, low, f"{low} = {high}"):
            found[part] += int(number)
        return [found[part] for part in range(1, len(limits))]

    def by_value(self, column: str, rows: Sql) -> Counter[str]:
        """Return how many rows have each value of a column that segments count, as text."""
        value, found = f"{column}_counts", Counter[str]()
        # Of a segment in which only some rows match, the values of those are not told.
        usable = f"(number = 0 OR (number = live AND {value} IS NOT NULL))"
        for name, number in self._add_up(BY_VALUE, rows, value, usable):
            found[name] += int(number)
        return found

    def _add_up(
        self, result: str, rows: Sql, value: str = "NULL", usable: str = "true"
    ) -> list[tuple[Any, ...]]:
        low, high = self._window
        gaps = (low, low, high, *rows.values)
        touched = (self.model.pk, high, low)
        statement = PARTS.replace("{value}", value).replace("{usable}", usable)
        return self._run(statement + result.replace("{rows}", rows.sql), touched, gaps)

    @property
    def _window(self) -> tuple[int, int]:
        low = LOWEST + 1 if self.lowest is None else self.lowest
        return low, -LOWEST - 1 if self.highest is None else self.highest

    def _run(
        self, statement: str, before: Sequence[Any] = (), after: Sequence[Any] = ()
    ) -> list[tuple[Any, ...]]:
        """Return the rows of a statement over the segments within the window."""
        low, high = self._window
        if low > high:
            return []
        told = [tally or UNKNOWN for tally in self.tallies[:TALLIES_MOST]] or [LIVE]
        told += [UNKNOWN] * (len(self.tallies) > TALLIES_MOST)
        values = [value for each in told for value in each.values]
        values += [self.model.pk, low, high]
        with connection.cursor() as cursor:
            cursor.execute(
                _write_out(statement, tuple(each.sql for each in told)),
                [*before, *values, *after],
            )
            found: list[tuple[Any, ...]] = cursor.fetchall()
        return found


@lru_cache(256)
def _write_out(statement: str, tallies: tuple[str, ...]) -> str:
    told = ", ".join(f"({each}) AS told_{n}" for n, each in enumerate(tallies))
    for name, sql in {
        "touch": TOUCH,
        "segment": SEGMENT,
        "number": _of_all(len(tallies)),
        "tallies": told,
    }.items():
        statement = statement.replace(f"{{{name}}}", sql)
    return statement


def _of_all(conditions: int) -> str:
    """Return SQL for the rows of a segment that pass all conditions, null if that is not told.

    No row passes when none passes one of them, and where all rows pass the others one decides.
    """
    names = [f"told_{number}" for number in range(conditions)]
    if conditions == 1:
        return names[0]
    cases = [f"WHEN {name} = 0 THEN 0" for name in names]
    for name in names:
        others = " AND ".join(f"{each} = live" for each in names if each != name)
        cases.append(f"WHEN {others} THEN {name}")
    return f"CASE {' '.join(cases)} END"


def tally_of_value(column: str, value: object) -> Sql:
    """Return the tally of the rows in which a column has the value, or a label is there."""
    counts = f"{column}_counts"
    return Sql(
        f"CASE WHEN {counts} IS NOT NULL "
        f"THEN coalesce(({counts} ->> %s::text)::integer, 0) END",
        (str(value),),
    )


def tally_of_score(sign: str, bound: float) -> Sql | None:
    """Return the tally of the rows with a score ``>=`` or ``<`` where a part begins."""
    column = {">=": "top_scores", "<": "low_scores"}.get(sign)
    if column is None or bound not in SCORES:
        return None
    return Sql(f"{column}[{SCORES.index(bound) + 1}]")


def value_of(column: str) -> tuple[str, str]:
    """Return what of a column is counted, and the SQL behind the table that it needs."""
    return VALUES.get(column, (column, ""))


def tally_of_texts(slot: str, comparisons: Sequence[tuple[str, Any]]) -> Sql | None:
    """Return the tally of a text slot for which one of the comparisons holds."""
    match comparisons:
        case [("exact", value)]:
            return tally_of_value(slot, value)
        case [("in", values)]:
            return _total([tally_of_value(slot, each) for each in sorted(set(values))])
    if not {lookup for lookup, _ in comparisons} <= OPERATORS.keys():
        return None
    # By code points, as the index and the check of rows compare.
    tests = [f'each.value COLLATE "C" {OPERATORS[name]} %s' for name, _ in comparisons]
    return _counted(slot, "text", tests, [value for _, value in comparisons])


def tally_of_numbers(slot: str, comparisons: Sequence[tuple[str, Any]]) -> Sql | None:
    """Return the tally of a number slot for which one of the comparisons holds."""
    match comparisons:
        case [("in", values)]:
            comparisons = [("exact", each) for each in sorted(set(values))]
    if not {lookup for lookup, _ in comparisons} <= OPERATORS.keys():
        return None
    kind = "bigint" if slot.startswith("integer") else "float8"

    def tests(of: dict[str, str], join: str) -> Sql:
        parts = [f"({of[lookup].format(slot)})" for lookup, _ in comparisons]
        values = [
            value
            for lookup, value in comparisons
            for _ in range(of[lookup].count("%s"))
        ]
        return Sql(f" {join} ".join(parts), tuple(values))

    whole, none = tests(WHOLE, "OR"), tests(NONE, "AND")
    named = [f"each.value::{kind} {OPERATORS[name]} %s" for name, _ in comparisons]
    counted = _counted(slot, kind, named, [value for _, value in comparisons])
    return Sql(
        f"CASE WHEN {slot}_lowest IS NULL OR ({none.sql}) THEN 0 "
        f"WHEN {whole.sql} THEN (filled ->> '{slot}')::integer "
        f"ELSE {counted.sql} END",
        none.values + whole.values + counted.values,
    )


def tally_without(tally: Sql) -> Sql:
    """Return the tally of the live rows that another one does not count."""
    return Sql(f"live - ({tally.sql})", tally.values)


def _total(tallies: Sequence[Sql]) -> Sql:
    return Sql(
        " + ".join(f"({each.sql})" for each in tallies) or "0",
        tuple(value for each in tallies for value in each.values),
    )


def _counted(slot: str, kind: str, tests: Sequence[str], values: Sequence[Any]) -> Sql:
    counts = f"{slot}_counts"
    return Sql(
        f"CASE WHEN {counts} IS NOT NULL THEN (SELECT coalesce(sum(number::integer), 0) "
        f"FROM jsonb_each_text({counts}) AS each (value, number) "
        f"WHERE {' OR '.join(tests)})::integer END",
        tuple(values),
    )
