"""Splits as expressions of the database: ``Splitting.split_of`` for whole versions at once."""

from __future__ import annotations

from typing import Any

from django.contrib.postgres.fields import ArrayField
from django.db.models import (
    BinaryField,
    Case,
    Expression,
    F,
    Func,
    TextField,
    Value,
    When,
)
from django.db.models.functions import Cast, Coalesce
from django.db.models.lookups import In, LessThan

from datasets.splitting import DIGEST_BYTES, LIMIT, Splitting

NO_SPLIT = Value(None, output_field=TextField())


def split_expression(splitting: Splitting) -> Expression:
    """Return the split of a ``DatasetEntry``, NULL for entries without one."""
    if splitting.kind == "none":
        return NO_SPLIT
    if splitting.kind == "value":
        value = _metadata_text(splitting.key)
        names = [Value(name) for name in splitting.names]
        return Case(When(In(value, names), then=value), default=NO_SPLIT)
    digest = Func(
        _digest(splitting),
        function="substring",
        template=f"%(function)s(%(expressions)s FROM 1 FOR {DIGEST_BYTES})",
        output_field=BinaryField(),
    )
    cases = []
    for name in splitting.names:
        moved = [bytes.fromhex(d) for d, to in splitting.moved.items() if to == name]
        if moved:
            cases.append(When(_is_any_of(digest, moved), then=Value(name)))
    for name, bound in splitting.bounds:
        if bound == LIMIT:
            return Case(*cases, default=Value(name), output_field=TextField())
        below = LessThan(digest, _bytes(bound.to_bytes(8)))
        cases.append(When(below, then=Value(name)))
    raise AssertionError("The last split has no bound.")


def _digest(splitting: Splitting) -> Func:
    seed = f"{splitting.seed}\0"
    hash_ = Func(F("data_hash"), Value("hex"), function="encode")
    unit = _joined(seed.encode(), hash_)
    if splitting.kind == "group":
        group = _joined(
            f"{seed}{splitting.key}\0".encode(), _metadata_text(splitting.key)
        )
        unit = Coalesce(group, unit, output_field=BinaryField())
    return Func(unit, function="sha256", output_field=BinaryField())


def _joined(beginning: bytes, text: Expression) -> Expression:
    """Return the bytes of a beginning and a text; NULL without a text."""
    encoded = Func(text, Value("UTF8"), function="convert_to")
    return Func(
        _bytes(beginning),
        encoded,
        template="(%(expressions)s)",
        arg_joiner=" || ",
        output_field=BinaryField(),
    )


def _metadata_text(key: str) -> Expression:
    """Return the text of a metadata value, which is kept as ``[type, text]``."""
    path = Value([key, "1"], output_field=ArrayField(TextField()))
    return Func(
        F("metadata"),
        Cast(path, ArrayField(TextField())),
        template="(%(expressions)s)",
        arg_joiner=" #>> ",
        output_field=TextField(),
    )


def _bytes(value: bytes) -> Cast:
    return Cast(Value(value, output_field=BinaryField()), BinaryField())


def _is_any_of(digest: Expression, values: list[bytes]) -> Any:
    # From nine values on PostgreSQL looks them up in a hash table.
    return In(digest, [_bytes(value) for value in values])
