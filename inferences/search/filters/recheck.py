"""Tests on the metadata as it was given, for the rows that other filters leave.

A slot holds what an index can hold. Where that is less than the whole value, these tests on
the payload decide.
"""

from __future__ import annotations

import re

from django.db.models import (
    BooleanField,
    OuterRef,
    Q,
)
from django.db.models.expressions import RawSQL

from inferences.models import InferencePayload
from inferences.models.side_rows import HasSideRow

# The texts that metadata_values.number_in reads; each casts to PostgreSQL's numeric.
NUMBER = r"^[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,4})?$"
# Outside of these a cast to float8 raises: above is no double, below it underflows to 0.
TOO_LARGE, TOO_SMALL = "1.7976931348623158e308", "2.47e-324"
EXACT_WHOLE = 2**53  # up to here doubles hold every whole number
INDEX = re.compile("0|[1-9][0-9]{0,8}")
READ_AS_INDEX = re.compile(r"\s*[+-]?[0-9]+", re.ASCII)


def of_type(type_: str, key: str) -> Q:
    """Return the test that the key is there and was given with the type."""
    return _payload("coalesce(metadata -> %s ->> 0 = %s, false)", [key, type_])


def exact_value_condition(
    type_: str, key: str, comparison: str, *operands: object
) -> Q:
    """Return the test that the value of a key, as text, satisfies ``<text> <comparison>``."""
    # CASE, not AND: PostgreSQL may evaluate AND in any order, and the cast in the comparison
    # would fail on a value of another type.
    sql = (
        "CASE WHEN metadata -> %s ->> 0 = %s "
        f"THEN (metadata -> %s ->> 1){comparison} ELSE false END"
    )
    return _payload(sql, [key, type_, key, *operands])


def leaf(path: list[str], type_: str, comparison: str = "", *operands: object) -> Q:
    """Return the test that the JSON leaf at the path has the type and passes the comparison.

    For ``json.int`` and ``json.float`` a text that parses as a number is a number.
    """
    if type_ == "json.string":
        compared = f'text COLLATE "C" {comparison}' if comparison else "true"
        test, before = f"kind = 'string' AND {compared}", []
    else:
        test, before = _of_number(type_, comparison), [NUMBER]
    found, steps = _leaf(path)
    sql = (
        f"(SELECT CASE WHEN {test} THEN true ELSE false END FROM "
        "(SELECT jsonb_typeof(leaf) AS kind, leaf #>> '{}' AS text FROM "
        f"(SELECT CASE WHEN metadata -> %s ->> 0 = 'json' THEN {found} END AS leaf) "
        "AS found) AS told)"
    )
    return _payload(sql, [*before, *operands, path[0], *steps])


def _of_number(type_: str, comparison: str) -> str:
    double = f"CASE WHEN abs(n) < {TOO_SMALL} THEN 0 ELSE n::float8 END"
    # Slots hold doubles. Where these are exact, compare the double, as the slot's index does.
    whole = (
        f"(CASE WHEN abs(n) < {EXACT_WHOLE} THEN ({double})::text::numeric ELSE n END)"
    )
    compared = {
        "json.int": f"trunc({whole}) = {whole} AND {whole} {comparison or 'IS NOT NULL'}",
        "json.float": f"({double}) {comparison}" if comparison else "true",
    }
    # The innermost CASE protects the cast to float8 from numbers on which it would fail.
    return (
        "CASE WHEN kind IN ('string', 'number') AND length(text) <= 400 AND text ~ %s "
        f"THEN (SELECT CASE WHEN abs(n) < {TOO_LARGE} THEN {compared[type_]} "
        "ELSE false END FROM (SELECT text::numeric AS n) AS read) ELSE false END"
    )


def _leaf(path: list[str]) -> tuple[str, list[object]]:
    """Return the SQL of the value at the path, and its parameters."""
    sql = "(metadata -> %s ->> 1)::jsonb"
    values: list[object] = [path[0]]
    for step in path[1:]:
        if READ_AS_INDEX.match(step) and not INDEX.fullmatch(step):
            # PostgreSQL would read -1 or 01 as an array index; here they are names.
            sql = f"({sql}) -> %s::text"
            values.append(step)
        else:
            sql = f"({sql}) #> %s"
            values.append([step])
    return sql, values


def _payload(sql: str, values: list[object]) -> Q:
    rows = InferencePayload.objects.beside(OuterRef("registered_model"))
    holds = RawSQL(sql, values, output_field=BooleanField())
    return Q(HasSideRow(rows.filter(id=OuterRef("id")).filter(holds)))
