"""Texts in tensors of the Open Inference Protocol (V2)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

LEVELS = 8  # of nested data, as many as tensors may have dimensions


def texts_of_tensors(value: Any) -> list[str] | None:
    """Return the texts of a tensor, of several, or of a whole V2 request or answer.

    None if it is none of them. Tensors of numbers have no texts.
    """
    if isinstance(value, dict) and not is_tensor(value):
        value = value.get("inputs", value.get("outputs"))
    tensors = [value] if isinstance(value, dict) else value
    if not isinstance(tensors, list) or not tensors or not all(map(is_tensor, tensors)):
        return None
    return [text for tensor in tensors for text in _texts(tensor["data"], LEVELS)]


def is_tensor(value: Any) -> bool:
    """Return whether this is a tensor as V2's JSON writes it."""
    if not isinstance(value, dict) or not isinstance(value.get("data"), list):
        return False
    return isinstance(value.get("datatype"), str) or isinstance(value.get("name"), str)


def _texts(data: list[Any], level: int) -> Iterator[str]:
    for each in data:
        if isinstance(each, str):
            yield each
        elif isinstance(each, list) and level:
            yield from _texts(each, level - 1)
