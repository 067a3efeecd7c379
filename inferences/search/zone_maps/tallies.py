"""What the summary of one segment tells of a condition: how many rows match, and which.

A tally is SQL over the columns of ``Segment``. Filters make tallies of what they test, and AND,
OR and NOT join them: numbers of rows as far as they can, and else bitmaps, in which each live
row of the segment is one bit, in the order of ids. ``zone_maps.counts`` adds tallies up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

from inferences.models.zone_maps import SCORE_PARTS
from inferences.real_numbers import as_real
from inferences.search.access_paths import Sql
from inferences.search.zone_maps.buckets import SlotRange

# Where the parts of scores begin, as four-byte floats. Part 0 is below 0, the last but one
# is the score 1, and the last one is above.
SCORES = [as_real(number / SCORE_PARTS) for number in range(SCORE_PARTS + 1)]
SCORES.append(1 + 2**-23)

NONE_OF_LIVE = "repeat('0', live)::varbit"
HAS_A_BIT_EACH = "bit_length(each.bits) = live"
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
VALUE_IN_ORDER = 'each.value COLLATE "C"'


@dataclass(frozen=True, slots=True)
class Tally:
    """The live rows of a segment that match.

    ``number`` is how many they are, ``bits`` which. Both are null for a segment whose summary
    does not tell; ``bits`` is None where no summary ever does. ``within`` is set where all that
    is tested is that a number lies in a range, which buckets tell as well.
    """

    number: Sql
    bits: Sql | None = None
    within: SlotRange | None = None

    @classmethod
    def of_bits(cls, bits: Sql) -> Tally:
        """Return the tally whose number is counted in the bitmap."""
        return cls(Sql(f"bit_count({bits.sql})::integer", bits.values), bits)

    def __invert__(self) -> Tally:
        """Return the tally of the live rows that do not match."""
        number = Sql(f"live - ({self.number.sql})", self.number.values)
        bits = self.bits and Sql(f"~ ({self.bits.sql})", self.bits.values)
        return Tally(number, bits)


UNKNOWN = Tally(Sql("NULL::integer"))
LIVE = Tally(Sql("live"))


def tally_of_any(tallies: Sequence[Tally | None]) -> Tally | None:
    """Return the tally of the rows that match one of these; None if bitmaps do not tell it."""
    return _joined("|", tallies)


def tally_of_each(tallies: Sequence[Tally | None]) -> Tally | None:
    """Return the tally of the rows that match all of these; None if bitmaps do not tell it."""
    return _joined("&", tallies)


def _joined(operator: str, tallies: Sequence[Tally | None]) -> Tally | None:
    bits = [tally.bits for tally in tallies if tally and tally.bits]
    if not tallies or len(bits) < len(tallies):
        return None
    return Tally.of_bits(reduce(lambda one, other: _infix(operator, one, other), bits))


def _infix(operator: str, one: Sql, other: Sql) -> Sql:
    return Sql(f"({one.sql}) {operator} ({other.sql})", one.values + other.values)


def bits_of_each(tallies: Sequence[Tally]) -> Sql:
    """Return the bitmap of the rows that match all of these, next to ``told_0``, ``told_1``, …

    Those are the numbers of the tallies. Where a number says that each row matches, or none, no
    bitmap is needed; without one the rows are not told, and no other bitmap is joined.
    """
    untold, parts, values = [], [], list[Any]()
    for number, tally in enumerate(tallies):
        name = f"told_{number}"
        if tally.bits is None:
            untold.append(f"WHEN ({name} IN (0, live)) IS NOT TRUE THEN NULL")
            untold.append(f"WHEN {name} = 0 THEN {NONE_OF_LIVE}")
            continue
        parts.append(
            f"(CASE {name} WHEN live THEN ~ {NONE_OF_LIVE} WHEN 0 THEN {NONE_OF_LIVE} "
            f"ELSE {tally.bits.sql} END)"
        )
        values += tally.bits.values
    joined = " & ".join(parts) or f"~ {NONE_OF_LIVE}"
    return Sql(
        f"CASE {' '.join(untold)} ELSE {joined} END" if untold else joined,
        tuple(values),
    )


def number_of_each(tallies: Sequence[Tally], *, by_bits: bool = True) -> Sql:
    """Return the number of the rows that match all of these, next to ``told_0``, ``told_1``, …

    No row passes when none passes one of them, and where all rows pass the others one decides.
    Else their bitmaps do, unless there are none: then the number is null.
    """
    names = [f"told_{number}" for number in range(len(tallies))]
    if len(names) == 1:
        return Sql(names[0])
    cases = [f"WHEN {name} = 0 THEN 0" for name in names]
    for name in names:
        others = " AND ".join(f"{each} = live" for each in names if each != name)
        cases.append(f"WHEN {others} THEN {name}")
    if not by_bits:
        return Sql(f"CASE {' '.join(cases)} END")
    bits = bits_of_each(tallies)
    sql = f"CASE {' '.join(cases)} ELSE bit_count({bits.sql})::integer END"
    return Sql(sql, bits.values)


def tally_of_value(column: str, value: object) -> Tally:
    """Return the tally of the rows in which a column has the value, or a label is there."""
    counts = f"{column}_counts"
    number = Sql(
        f"CASE WHEN {counts} IS NOT NULL "
        f"THEN coalesce(({counts} ->> %s::text)::integer, 0) END",
        (str(value),),
    )
    return Tally(number, _bits(column, Sql("each.value = %s::text", (str(value),))))


def tally_of_labels(numbers: Sequence[int]) -> Tally | None:
    """Return the tally of the rows that have one of these labels."""
    if len(numbers) == 1:
        return tally_of_value("labels", numbers[0])
    names = [str(number) for number in numbers]
    return Tally.of_bits(_bits("labels", Sql("each.value = ANY(%s::text[])", (names,))))


def tally_of_score(sign: str, bound: float) -> Tally | None:
    """Return the tally of the rows with a score ``>=`` or ``<`` where a part begins."""
    column = {">=": "top_scores", "<": "low_scores"}.get(sign)
    if column is None or bound not in SCORES:
        return None
    return Tally(Sql(f"{column}[{SCORES.index(bound) + 1}]"))


def tally_of_texts(slot: str, comparisons: Sequence[tuple[str, Any]]) -> Tally | None:
    """Return the tally of a text slot for which one of the comparisons holds."""
    match comparisons:
        case [("exact", value)]:
            return tally_of_value(slot, value)
        case [("in", values)]:
            comparisons = [("exact", each) for each in sorted(set(values))]
    if not {lookup for lookup, _ in comparisons} <= OPERATORS.keys():
        return None
    # By code points, as the index and the check of rows compare.
    tests = _tests(VALUE_IN_ORDER, comparisons)
    return Tally(_counted(slot, tests), _bits(slot, tests))


def tally_of_numbers(slot: str, comparisons: Sequence[tuple[str, Any]]) -> Tally | None:
    """Return the tally of a number slot for which one of the comparisons holds."""
    match comparisons:
        case [("in", values)]:
            comparisons = [("exact", each) for each in sorted(set(values))]
    if not {lookup for lookup, _ in comparisons} <= OPERATORS.keys():
        return None
    whole = _by_bounds(WHOLE, " OR ", slot, comparisons)
    none = _by_bounds(NONE, " AND ", slot, comparisons)
    kind = "bigint" if slot.startswith("integer") else "float8"
    tests = _tests(f"each.value::{kind}", comparisons)
    counted = _counted(slot, tests)
    number = Sql(
        f"CASE WHEN {slot}_lowest IS NULL OR ({none.sql}) THEN 0 "
        f"WHEN {whole.sql} THEN (filled ->> '{slot}')::integer "
        f"ELSE {counted.sql} END",
        none.values + whole.values + counted.values,
    )
    within = None
    if len(comparisons) == 1 and comparisons[0][0] != "exact":
        lookup, value = comparisons[0]
        within = SlotRange.of(slot, OPERATORS[lookup], value)
    return Tally(number, _bits(slot, tests), within)


def _by_bounds(
    of: dict[str, str], join: str, slot: str, comparisons: Sequence[tuple[str, Any]]
) -> Sql:
    """Return SQL for what the bounds of a slot say of all comparisons."""
    parts = [f"({of[lookup].format(slot)})" for lookup, _ in comparisons]
    values = [
        value for lookup, value in comparisons for _ in range(of[lookup].count("%s"))
    ]
    return Sql(join.join(parts), tuple(values))


def _tests(value: str, comparisons: Sequence[tuple[str, Any]]) -> Sql:
    """Return SQL that tells whether a value passes one of the comparisons."""
    tests = " OR ".join(f"{value} {OPERATORS[name]} %s" for name, _ in comparisons)
    return Sql(tests or "false", tuple(value for _, value in comparisons))


def _counted(slot: str, tests: Sql) -> Sql:
    """Return SQL for the number of rows whose value passes; each row has one value."""
    counts = f"{slot}_counts"
    return Sql(
        f"CASE WHEN {counts} IS NOT NULL THEN (SELECT coalesce(sum(number::integer), 0) "
        f"FROM jsonb_each_text({counts}) AS each (value, number) "
        f"WHERE {tests.sql})::integer END",
        tests.values,
    )


def _bits(column: str, tests: Sql) -> Sql:
    """Return SQL for the bitmap of the rows with a value that passes.

    Bitmaps of a column lie in the order in which PostgreSQL gives the keys of its counts. One
    that is not as long as the segment has live rows is damaged, as ``verify`` says: then the SQL
    is null, and the rows are read. Bitmaps of two lengths would be an error of the statement.
    """
    fitting = f"FILTER (WHERE {HAS_A_BIT_EACH})"
    return Sql(
        f"CASE WHEN {column}_bits IS NOT NULL THEN ("
        f"SELECT CASE WHEN count(*) = count(*) {fitting} "
        f"THEN coalesce(bit_or(each.bits) {fitting}, {NONE_OF_LIVE}) END "
        f"FROM {values_with_bits(column)} WHERE {tests.sql}) END",
        tests.values,
    )


def values_with_bits(column: str) -> str:
    """Return the FROM item ``each`` with the values of a column and the bitmap of each."""
    return (
        f"ROWS FROM (jsonb_object_keys({column}_counts), unnest({column}_bits)) "
        "AS each (value, bits)"
    )
