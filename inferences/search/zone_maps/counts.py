"""Count with the summaries of segments: whole segments are added up, the rest is read.

A filter says by its ``tally`` how many live rows of a segment match: an SQL expression over the
columns of ``Segment``, which is null where only the rows tell. Segments, touches and rows are
read by one statement, so by one snapshot. A segment that was touched is read, and so are the
rows at the edges of a window and the newest ones, which are in no segment yet.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db import connection

from inferences.models import RegisteredModel
from inferences.models.row_ids import LOWEST
from inferences.models.zone_maps import Segment, SegmentTouch
from inferences.search.access_paths import Sql

SEGMENT, TOUCH = Segment._meta.db_table, SegmentTouch._meta.db_table
LIVE = Sql("live")
UNKNOWN = Sql("NULL::integer")
TALLIES_MOST = 8  # with more conditions the rest is taken as unknown

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

COUNT = """
WITH touched AS MATERIALIZED (
    SELECT DISTINCT lowest_id, highest_id FROM {touch}
    WHERE model_key = %s AND lowest_id <= %s AND highest_id >= %s
), whole AS MATERIALIZED (
    SELECT lowest_id, highest_id, {number} AS number
    FROM {segment} CROSS JOIN LATERAL (SELECT {tallies}) AS told
    WHERE model_key = %s AND lowest_id >= %s AND highest_id <= %s
    AND built_at IS NOT NULL AND live IS NOT NULL
    AND NOT EXISTS (
        SELECT FROM touched WHERE touched.lowest_id <= {segment}.highest_id
        AND touched.highest_id >= {segment}.lowest_id)
), added AS (
    SELECT * FROM whole WHERE number IS NOT NULL
), gap AS (
    SELECT coalesce(lag(highest_id) OVER (ORDER BY highest_id) + 1, %s) AS low,
           lowest_id - 1 AS high
    FROM added
    UNION ALL SELECT coalesce(max(highest_id) + 1, %s), %s FROM added
)
SELECT coalesce((SELECT sum(number) FROM added), 0) + coalesce((
    SELECT sum(rows.number) FROM gap CROSS JOIN LATERAL ({rows}) AS rows (number)
    WHERE gap.low <= gap.high), 0)
"""


def is_summarised(model: RegisteredModel) -> bool:
    """Return whether any segment of the model has a summary."""
    segments = Segment.objects.filter(registered_model=model, built_at__isnull=False)
    return segments.filter(live__isnull=False).exists()


def count(
    model: RegisteredModel,
    tallies: Sequence[Sql | None],
    window: tuple[int | None, int | None],
    rows: Sql,
) -> int:
    """Return how many live rows in the window match.

    There is one tally for each condition, all of which must hold. ``rows`` is the SELECT of
    the number of matching rows with ids from ``gap.low`` to ``gap.high``.
    """
    low = LOWEST + 1 if window[0] is None else window[0]
    high = -LOWEST - 1 if window[1] is None else window[1]
    if low > high:
        return 0
    told = [tally or UNKNOWN for tally in tallies[:TALLIES_MOST]] or [LIVE]
    told += [UNKNOWN] * (len(tallies) > TALLIES_MOST)
    statement = COUNT.format(
        touch=TOUCH,
        segment=SEGMENT,
        number=_of_all(len(told)),
        tallies=", ".join(f"({each.sql}) AS told_{n}" for n, each in enumerate(told)),
        rows=rows.sql,
    )
    key = model.pk
    values: list[Any] = [key, high, low]
    values += [value for each in told for value in each.values]
    values += [key, low, high, low, low, high, *rows.values]
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        ((number,),) = cursor.fetchall()
    return int(number)


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


def tally_of_texts(slot: str, comparisons: Sequence[tuple[str, Any]]) -> Sql | None:
    """Return the tally of a text slot for which one of the comparisons holds."""
    match comparisons:
        case [("exact", value)]:
            return tally_of_value(slot, value)
        case [("in", values)]:
            return _total([tally_of_value(slot, each) for each in sorted(set(values))])
    if not {lookup for lookup, _ in comparisons} <= OPERATORS.keys():
        return None
    tests = [f"each.value {OPERATORS[name]} %s" for name, _ in comparisons]
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
