"""Find the vector in the answer of an embedding model."""

from __future__ import annotations

import json
from typing import Any

Vector = list[int | float]

NAMES = ("embedding", "embeddings")
DEPTH_MAX = 8


def read_embedding(data: str | None, *, is_embed: bool) -> Vector | None:
    """Return the single vector of an answer, or None if it holds none or several.

    A list under ``embedding`` counts for every action. A bare list of numbers, or the only
    output of a V2 answer, counts only if the model was asked to ``embed``.
    """
    if not data:
        return None
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return _find(value, is_embed, DEPTH_MAX)


def _find(value: Any, is_bare: bool, depth: int) -> Vector | None:
    if depth == 0:
        return None
    if isinstance(value, str):  # an element of a V2 output of type BYTES
        return _find(_parse(value), is_bare, depth - 1)
    if isinstance(value, list):
        if is_bare and value and all(map(_is_number, value)):
            return value
        return _find(value[0], is_bare, depth - 1) if len(value) == 1 else None
    if not isinstance(value, dict):
        return None
    for name in NAMES:
        if value.get(name) is not None:
            return _find(value[name], True, depth - 1)
    if isinstance(outputs := value.get("outputs"), list):
        named = [
            output
            for output in outputs
            if isinstance(output, dict) and output.get("name") in NAMES
        ]
        if named:
            return _find(named[0].get("data"), True, depth - 1)
        return _find(outputs, is_bare, depth - 1)
    # A V2 output, or the ``data`` list of OpenAI's embeddings response.
    return _find(value.get("data"), is_bare, depth - 1)


def _parse(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
