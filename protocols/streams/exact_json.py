"""Exact parsing of JSON in streams: a text that could not be written again is rejected."""

from __future__ import annotations

import json
import math
from typing import Any

from protocols.open_inference.bounded_json import check_bounds


def read(text: bytes) -> Any:
    """Return the value of a JSON text.

    Raises ValueError if it is invalid, or would lose something: NaN, a number beyond a double,
    or a repeated name.
    """
    check_bounds(text)
    try:
        return DECODER.decode(text.decode(json.detect_encoding(text), "surrogatepass"))
    except RecursionError as error:
        raise ValueError("It is nested too deeply.") from error


def _refuse(word: str) -> Any:
    raise ValueError(f"{word} is no number.")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is beyond a double.")
    return value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("A name stands twice in an object.")
    return found


# Made once: ``json.loads`` with these arguments would make a decoder for each text.
DECODER = json.JSONDecoder(
    parse_constant=_refuse, parse_float=_finite, object_pairs_hook=_once
)
