"""Questions to the metadata as it was given, on the rows that other filters leave.

Slots hold what an index can; where that is less than the value, the payload decides.
"""

from __future__ import annotations

import re

from django.db.models import (
    BooleanField,
    Exists,
    OuterRef,
    Q,
)
from django.db.models.expressions import RawSQL

from inferences.models import InferencePayload

# As metadata.number_in reads texts: what passes is a numeric of PostgreSQL too.
NUMBER = r"^[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,4})?$"
# Beyond them a cast to float8 is an error: doubles end here, and here they become 0.
TOO_LARGE, TOO_SMALL = "1.7976931348623158e308", "2.47e-324"
EXACT_WHOLE = 2**53  # doubles hold every whole number up to here
INDEX = re.compile("0|[1-9][0-9]{0,8}")
READ_AS_INDEX = re.compile(r"\s*[+-]?[0-9]+", re.ASCII)


def of_type(type_: str, key: str) -> Q:
    """That the key is there, and was given with the type."""
    return _payload("coalesce(metadata -> %s ->> 0 = %s, false)", [key, type_])


def exact_value_condition(
    type_: str, key: str, comparison: str, *operands: object
) -> Q:
    """That the value of a key, as text, satisfies ``<text> <comparison>``."""
    sql = (
        "CASE WHEN metadata -> %s ->> 0 = %s "
        f"THEN (metadata -> %s ->> 1){comparison} ELSE false END"
    )
    return _payload(sql, [key, type_, key, *operands])


def leaf(path: list[str], type_: str, comparison: str = "", *operands: object) -> Q:
    """That the JSON leaf at the path is of the type and satisfies the comparison.

    A text that reads as a number is one for ``json.int`` and ``json.float``.
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
    # Slots hold doubles, which are told from one another as far as they are exact.
    whole = (
        f"(CASE WHEN abs(n) < {EXACT_WHOLE} THEN ({double})::text::numeric ELSE n END)"
    )
    compared = {
        "json.int": f"trunc({whole}) = {whole} AND {whole} {comparison or 'IS NOT NULL'}",
        "json.float": f"({double}) {comparison}" if comparison else "true",
    }
    # The innermost CASE is what keeps the cast from numbers that it would fail on.
    return (
        "CASE WHEN kind IN ('string', 'number') AND length(text) <= 400 AND text ~ %s "
        f"THEN (SELECT CASE WHEN abs(n) < {TOO_LARGE} THEN {compared[type_]} "
        "ELSE false END FROM (SELECT text::numeric AS n) AS read) ELSE false END"
    )


def _leaf(path: list[str]) -> tuple[str, list[object]]:
    """The SQL of the value at the path, and its parameters."""
    sql, values = "(metadata -> %s ->> 1)::jsonb", [path[0]]
    for step in path[1:]:
        if READ_AS_INDEX.match(step) and not INDEX.fullmatch(step):
            # PostgreSQL would read -1 or 01 as an index, where we mean a name.
            sql, more = f"({sql}) -> %s::text", step
        else:
            sql, more = f"({sql}) #> %s", [step]
        values.append(more)
    return sql, values


def _payload(sql: str, values: list[object]) -> Q:
    rows = InferencePayload.objects.beside(OuterRef("registered_model"))
    holds = RawSQL(sql, values, output_field=BooleanField())
    return Q(Exists(rows.filter(id=OuterRef("id")).filter(holds)))
