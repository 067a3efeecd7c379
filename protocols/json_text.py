"""JSON texts within JSON: values written compactly, and texts read where they hold a value."""

from __future__ import annotations

import json
from typing import Any

import orjson

TOO_DEEP = "[nested too deep to be shown]"


def as_json(value: Any) -> str:
    """Return the value as compact JSON text, or a placeholder where it is nested too deep.

    orjson reads 1,024 levels and writes 254, so not everything that was read can be
    written.
    """
    try:
        return orjson.dumps(value).decode()
    except TypeError:
        pass
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    except RecursionError:
        return TOO_DEEP


def parse(value: Any) -> Any:
    """Return the object or list that a JSON text holds; any other value is returned unchanged."""
    if not isinstance(value, str) or value.lstrip()[:1] not in ("{", "["):
        return value
    try:
        return orjson.loads(value)
    except (orjson.JSONDecodeError, UnicodeEncodeError):
        pass
    # Python's json writes NaN and Infinity, which orjson refuses. They are read here as in
    # ``protocols.open_inference.bounded_json``: an answer must give the same result when its
    # stored text is parsed again. Half a surrogate pair is refused by both: no page holds it.
    if "NaN" not in value and "Infinity" not in value:
        return value
    try:
        found = json.loads(value)
        json.dumps(found, ensure_ascii=False).encode()
        return found
    except (ValueError, RecursionError):
        return value


def without_batch(value: Any) -> Any:
    """Return the value without enclosing lists of one list: a batch of one is its element."""
    while isinstance(value, list) and len(value) == 1 and isinstance(value[0], list):
        value = value[0]
    return value
