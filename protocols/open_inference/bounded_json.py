"""Parsing of untrusted JSON, within limits of depth and size, with errors for people."""

from __future__ import annotations

import json
from typing import Any

import orjson

from protocols.json_bounds import check_json

MAX_DEPTH = 64  # levels of nesting
# As many numbers as four FP32 pictures of 640 by 512 pixels and three channels. Parsed they
# take some 130 MB. A message with more is kept as it came, without being parsed.
MAX_VALUES = 4_000_000


class V2Error(ValueError):
    """A message that cannot be parsed; the text is meant for the person who sent it."""


def read_json(
    body: bytes, max_depth: int = MAX_DEPTH, max_values: int = MAX_VALUES
) -> Any:
    """Return the value of a JSON text; NaN, Infinity and -Infinity are allowed.

    Raises ``V2Error`` for other invalid JSON, and above the limits.
    """
    check_bounds(body, max_depth, max_values)
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        if b"NaN" in body or b"Infinity" in body:
            return _read_with_nan(body)
        raise V2Error(f"The body is not valid JSON: {error}.") from None


def _read_with_nan(body: bytes) -> Any:
    """Return JSON with NaN, as Python's ``json.dumps`` writes it; orjson rejects that."""
    try:
        value = json.loads(body)
        # Raises for a lone surrogate, and for a number that orjson could not write.
        orjson.dumps(value)
    except (ValueError, RecursionError, TypeError) as error:
        raise V2Error(f"The body is not valid JSON: {error}.") from None
    return value


def check_bounds(
    body: bytes, max_depth: int = MAX_DEPTH, max_values: int = MAX_VALUES
) -> None:
    """Raise ``V2Error`` for a text above the limits, before a parser recurses into it."""
    try:
        check_json(body, max_depth, max_values)
    except ValueError as error:
        raise V2Error(str(error)) from None
