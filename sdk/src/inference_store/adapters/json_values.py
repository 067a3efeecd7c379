"""JSON values: limits of depth and size, copies, and type names for messages."""

from __future__ import annotations

import math
from typing import Any

from inference_store.adapters.errors import Fault

MAX_DEPTH = 64
MAX_CONFIGURATION = 10_000


def check_and_copy(value: Any) -> Any:
    """Return a copy of a JSON value, so that later changes of the original do not reach it.

    Raises Fault if it is not JSON, too deep or too large.
    """
    return _copy(value, MAX_DEPTH, [MAX_CONFIGURATION])


def _copy(value: Any, levels: int, left: list[int]) -> Any:
    left[0] -= 1
    if left[0] < 0:
        raise Fault(f"It has more than {MAX_CONFIGURATION} values.")
    if levels == 0:
        raise Fault(f"It is nested deeper than {MAX_DEPTH} levels.")
    if isinstance(value, dict):
        if not all(isinstance(key, str) for key in value):
            raise Fault("The names of an object's members are texts.")
        return {key: _copy(member, levels - 1, left) for key, member in value.items()}
    if isinstance(value, (list, tuple)):
        return [_copy(member, levels - 1, left) for member in value]
    if isinstance(value, float) and not math.isfinite(value):
        raise Fault(f"{value} is not a JSON number.")
    if value is None or isinstance(value, (str, bool, int, float)):
        return value
    raise Fault(f"{type_name(value)} is not a JSON value.")


def copy(value: Any) -> Any:
    """Return a copy, which the caller may change, of a value that was ``copied`` before."""
    if isinstance(value, dict):
        return {key: copy(member) for key, member in value.items()}
    return [copy(member) for member in value] if isinstance(value, list) else value


def type_name(value: Any) -> str:
    """Return the JSON type of a value, for a message."""
    kinds = {dict: "an object", list: "a list", str: "a text", bool: "a boolean"}
    kinds |= {int: "a number", float: "a number", type(None): "null"}
    return kinds.get(type(value), f"a {type(value).__name__}")
