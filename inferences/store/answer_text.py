"""The text of an answer, wherever it lies: in its row, or in a blob when it is large."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from istore import blobs

READ_FROM_BLOB = 8 * 1024**2
TOO_LARGE = f"The answer has more than {READ_FROM_BLOB} bytes."
BINARY = "The answer has binary tensors, which are not kept as text."
GONE = "The answer is gone."


def answer_text(data: str, key: str, notes: Mapping[str, Any] | None) -> str:
    """The text; empty where ``text_is_missing`` says why."""
    if text_is_missing(data, key, notes) or data:
        return data
    try:
        return blobs.get(key).decode("utf-8", "replace") if key else data
    except FileNotFoundError:
        return ""


def text_is_missing(data: str, key: str, notes: Mapping[str, Any] | None) -> str:
    """Why there is an answer, and no text of it; empty where there is one or none."""
    facts = (notes or {}).get("answer") or {}
    if data or not key:
        return ""
    if facts.get("header_length"):
        return BINARY
    size = facts.get("size")
    if not isinstance(size, int):  # of a record that was brought here by a file
        try:
            size = blobs.size(key)
        except FileNotFoundError:
            return GONE
    return TOO_LARGE if size > READ_FROM_BLOB else ""
