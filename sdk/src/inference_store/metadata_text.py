"""Turn Python values into metadata items: key, type and text."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from numbers import Integral, Real
from typing import Any

STANDARD = ("latitude", "longitude", "data_source")
SMALLEST, LARGEST = -(2**63), 2**63 - 1
BLANKS = " \t\r\n"
SPECIAL = frozenset("\\,[]")

Item = dict[str, str]


def item(key: str, value: Any) -> Item:
    """Return the value as ``{key, type, value}``. Raises ``ValueError`` if no type fits it."""
    if not isinstance(key, str) or not key:
        raise ValueError(f"{key!r}: a metadata key is a text that is not empty.")
    type_, text = _type_of(key, value)
    return {"key": key, "type": type_, "value": text}


def items(
    custom_metadata: Mapping[str, Any] | Sequence[Mapping[str, Any]],
) -> list[dict[str, Any]]:
    """Return the items of a mapping; a list of items is returned as it is."""
    if isinstance(custom_metadata, Mapping):
        return [item(key, value) for key, value in custom_metadata.items()]
    return [dict(given) for given in custom_metadata]


def standard_value(key: str, value: Any) -> float | str:
    """Return the value of ``latitude``, ``longitude`` or ``data_source``, checked."""
    type_, text = _type_of(key, value)
    if key == "data_source":
        if type_ != "string":
            raise ValueError(f"data_source: {value!r} is not a text.")
        return text
    if type_ not in ("int", "float"):
        raise ValueError(f"{key}: {value!r} is not a number of degrees.")
    return float(value)


def list_text(values: Iterable[Any]) -> str | None:
    """Return the text of values for the operator ``in``, or None if there are none."""
    texts = [_escape(v if isinstance(v, str) else str(v)) for v in values]
    # One empty text: "[]" would be no value at all, and twice the same is one.
    texts = ["", ""] if texts == [""] else texts
    return f"[{', '.join(texts)}]" if texts else None


def text_of_type(value: Any, kind: str) -> str:
    """Return the value as the text that the store parses as ``string``, ``int`` or ``float``.

    Raises ``ValueError`` if the value is not of this kind.
    """
    if kind == "string" and isinstance(value, str):
        return value
    if isinstance(value, bool) or not isinstance(value, (str, Real)):
        raise ValueError(f"{value!r} is not a value of the type {kind}.")
    if kind == "string":
        return str(value)
    parse: Callable[[Any], float] = float if kind == "float" else int
    try:
        number = parse(value)
    except (ValueError, OverflowError):
        raise ValueError(f"{value!r} is not a value of the type {kind}.") from None
    is_whole = kind == "int" and (isinstance(value, str) or number == value)
    if not (is_whole or (kind == "float" and math.isfinite(number))):
        raise ValueError(f"{value!r} is not a value of the type {kind}.")
    if kind == "int" and not SMALLEST <= number <= LARGEST:
        raise ValueError(f"{value!r} does not fit into 64 bits.")
    return str(number)


def _type_of(key: str, value: Any) -> tuple[str, str]:
    if isinstance(value, str):
        return "string", str(value)
    if isinstance(value, bool) or value is None:
        raise ValueError(
            f"{key}: {value!r} cannot be metadata; use a text, a number or a mapping."
        )
    if isinstance(value, Integral):
        if not SMALLEST <= int(value) <= LARGEST:
            raise ValueError(f"{key}: {value} does not fit into 64 bits.")
        return "int", str(int(value))
    if isinstance(value, Real):
        if not math.isfinite(value):
            raise ValueError(f"{key}: {value} is not a finite number.")
        return "float", repr(float(value))
    if isinstance(value, (Mapping, list, tuple)):
        return "json", _json(key, value)
    raise ValueError(
        f"{key}: a {type(value).__name__} cannot be metadata; use a text, a number or "
        "a mapping."
    )


def _json(key: str, value: Any) -> str:
    plain = dict(value) if isinstance(value, Mapping) else list(value)
    try:
        return json.dumps(plain, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{key}: it cannot be written as JSON: {error}") from None


def _escape(value: str) -> str:
    """Return the value with a backslash before delimiters and before its outer blanks."""
    last = len(value) - 1
    return "".join(
        f"\\{letter}"
        if letter in SPECIAL or (letter in BLANKS and index in (0, last))
        else letter
        for index, letter in enumerate(value)
    )
