"""JSON of strangers: no deeper than a limit, and a sentence when it is not JSON."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import orjson

MAX_DEPTH = 64
CHUNK = 1 << 20

QUOTE, OPENING, CLOSING = 2, 1, 0xFF
_STRUCTURE = b'"[]{}'
_OTHER = bytes(set(range(256)) - set(_STRUCTURE))
_MARKS = bytes.maketrans(_STRUCTURE, bytes([QUOTE, OPENING, CLOSING, OPENING, CLOSING]))


class V2Error(ValueError):
    """A message that cannot be read; the text is meant for the person who sent it."""


def read_json(body: bytes, max_depth: int = MAX_DEPTH) -> Any:
    """The value of a JSON text. The three words for what is no number are let pass."""
    check_depth(body, max_depth)
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


def check_depth(body: bytes, max_depth: int = MAX_DEPTH) -> None:
    """Refuse a text before the parser would recurse into it; in linear time.

    Without escapes a quote always opens or ends a string, so parity tells which
    brackets are text. Runs of backslashes pair up from the left, as ``replace`` does.
    """
    if body.count(b"[") + body.count(b"{") <= max_depth:
        return
    if b"\\" in body:
        body = body.replace(b"\\\\", b"").replace(b'\\"', b"")
    marks = np.frombuffer(body.translate(_MARKS, _OTHER), np.uint8)
    depth, in_string = 0, 0
    for start in range(0, len(marks), CHUNK):
        chunk = marks[start : start + CHUNK]
        is_quote = chunk == QUOTE
        # Wraps at 256, which keeps the parity.
        quotes = np.cumsum(is_quote, dtype=np.uint8) + np.uint8(in_string)
        steps = np.where((quotes & 1) | is_quote, 0, chunk.view(np.int8))
        levels = np.cumsum(steps, dtype=np.int32)
        if depth + int(levels.max()) > max_depth:
            raise V2Error(f"The JSON is nested deeper than {max_depth} levels.")
        depth += int(levels[-1])
        in_string = int(quotes[-1] & 1)
