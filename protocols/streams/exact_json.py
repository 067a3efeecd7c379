"""JSON of streams, read exactly or not at all: what cannot be written again is not read."""

from __future__ import annotations

import json
import math
from typing import Any

from protocols.open_inference.bounded_json import check_bounds


def read(text: bytes) -> Any:
    """The value of a JSON text. Raises ValueError where it is none, or not kept exactly."""
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


# Made once: ``json.loads`` makes one for each text when it is told how to read.
DECODER = json.JSONDecoder(
    parse_constant=_refuse, parse_float=_finite, object_pairs_hook=_once
)
