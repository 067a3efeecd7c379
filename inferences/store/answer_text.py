"""The text of an answer: from its row, or from a blob when it is large."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import orjson

from istore import blobs

READ_FROM_BLOB = 8 * 1024**2
TOO_LARGE = f"The answer has more than {READ_FROM_BLOB} bytes."
BINARY = "The answer has binary tensors, which are not kept as text."
GONE = "The answer is gone."


def answer_text(data: str, key: str, notes: Mapping[str, Any] | None) -> str:
    """Return the text of the answer; empty where ``text_is_missing`` gives the reason."""
    if text_is_missing(data, key, notes) or data:
        return data
    try:
        return blobs.get(key).decode("utf-8", "replace") if key else data
    except FileNotFoundError:
        return ""


def text_is_missing(data: str, key: str, notes: Mapping[str, Any] | None) -> str:
    """Return why an answer has no text; empty if it has one, or if there is no answer."""
    facts = (notes or {}).get("answer") or {}
    if data or not key:
        return ""
    if facts.get("header_length"):
        return BINARY
    size = facts.get("size")
    if not isinstance(size, int):  # the record was imported from a file
        try:
            size = blobs.size(key)
        except FileNotFoundError:
            return GONE
    return TOO_LARGE if size > READ_FROM_BLOB else ""


def named_text(answer: str) -> str | None:
    """Return the text among the named inputs of a collection that was stored directly."""
    if not answer.startswith("{") or '"inputs"' not in answer:
        return None
    with suppress(orjson.JSONDecodeError, KeyError, TypeError):
        text = orjson.loads(answer)["inputs"]["text"]
        return text if isinstance(text, str) else None
    return None
