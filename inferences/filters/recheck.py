"""Questions to the metadata as it was given, on the rows that other filters leave.

Slots hold what an index can; where that is less than the value, the payload decides.
"""

from __future__ import annotations

from django.db.models import (
    BooleanField,
    Exists,
    OuterRef,
    Q,
)
from django.db.models.expressions import RawSQL

from inferences.models import InferencePayload

# Of ``json`` values the text is JSON; a path that leads nowhere gives null.
LEAF = "((metadata -> %s ->> 1)::jsonb #> %s)"
NUMBER = r"^[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?$"


def given(type_: str, key: str, comparison: str, *operands: object) -> Q:
    """That the value of a key, as text, satisfies ``<text> <comparison>``."""
    sql = (
        "CASE WHEN metadata -> %s ->> 0 = %s "
        f"THEN (metadata -> %s ->> 1){comparison} ELSE false END"
    )
    return _payload(sql, [key, type_, key, *operands])


def leaf_text(path: list[str], comparison: str, *operands: object) -> Q:
    """That the JSON leaf at the path is a string that satisfies the comparison."""
    sql = (
        "CASE WHEN metadata -> %s ->> 0 = 'json' THEN "
        f"CASE WHEN jsonb_typeof({LEAF}) = 'string' "
        f"THEN (({LEAF}) #>> '{{}}') COLLATE \"C\" {comparison} ELSE false END "
        "ELSE false END"
    )
    place = [path[0], path[1:]]
    return _payload(sql, [path[0], *place, *place, *operands])


def leaf_number(path: list[str], whole: bool, comparison: str, *operands: object) -> Q:
    """That the JSON leaf is a number, or a text that reads as one, and compares so."""
    text = f"(({LEAF}) #>> '{{}}')"
    as_type = "numeric" if whole else "float8"
    integral = f"AND trunc(({text})::numeric) = ({text})::numeric" if whole else ""
    sql = (
        "CASE WHEN metadata -> %s ->> 0 = 'json' THEN "
        f"CASE WHEN jsonb_typeof({LEAF}) IN ('string', 'number') AND {text} ~ %s "
        f"AND length({text}) <= 400 "
        f"THEN ({text})::{as_type} {comparison} {integral} ELSE false END "
        "ELSE false END"
    )
    place = [path[0], path[1:]]
    values = [path[0], *place, *place, NUMBER, *place, *place, *operands]
    if whole:
        values += [*place, *place]
    return _payload(sql, values)


def _payload(sql: str, values: list[object]) -> Q:
    rows = InferencePayload.objects.beside(OuterRef("registered_model"))
    holds = RawSQL(sql, values, output_field=BooleanField())
    return Q(Exists(rows.filter(id=OuterRef("id")).filter(holds)))
