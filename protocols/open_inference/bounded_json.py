"""JSON of strangers: no deeper and no larger than limits, and a sentence when it is not JSON."""

from __future__ import annotations

import json
from typing import Any

import orjson

from protocols.json_bounds import check_json

MAX_DEPTH = 64
# As many numbers as 4 FP32 pictures of 640 by 512 pixels and three channels. Parsed they
# take some 130 MB; what holds more is kept as it came, and not taken apart.
MAX_VALUES = 4_000_000


class V2Error(ValueError):
    """A message that cannot be read; the text is meant for the person who sent it."""


def read_json(
    body: bytes, max_depth: int = MAX_DEPTH, max_values: int = MAX_VALUES
) -> Any:
    """The value of a JSON text. The three words for what is no number are let pass."""
    check_bounds(body, max_depth, max_values)
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        if b"NaN" in body or b"Infinity" in body:
            return _read_with_nan(body)
        raise V2Error(f"The body is not valid JSON: {error}.") from None


def _read_with_nan(body: bytes) -> Any:
    """What Python servers write: ``json.dumps`` knows NaN, orjson does not."""
    try:
        value = json.loads(body)
        orjson.dumps(value)  # a lone surrogate, or a number that would not go on
    except (ValueError, RecursionError, TypeError) as error:
        raise V2Error(f"The body is not valid JSON: {error}.") from None
    return value


def check_bounds(
    body: bytes, max_depth: int = MAX_DEPTH, max_values: int = MAX_VALUES
) -> None:
    """Refuse a text before a parser would recurse into it, or make too much of it."""
    try:
        check_json(body, max_depth, max_values)
    except ValueError as error:
        raise V2Error(str(error)) from None
