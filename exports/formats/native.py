"""Metadata and answers as JSON within the range of other readers."""

from __future__ import annotations

import json
from typing import Any

import orjson

from exports.members import Member


def natives(member: Member) -> dict[str, Any]:
    """Return the metadata as JSON values by key."""
    return {key: plain(value.native) for key, value in member.metadata.items()}


def texts(member: Member) -> list[dict[str, str]]:
    """Return the metadata as ``{key, type, value}``, one shape for all rows of a table."""
    return [
        {"key": key, "type": value.type, "value": value.text}
        for key, value in member.metadata.items()
    ]


def to_json(value: Any) -> bytes:
    """Return the value as JSON, including integers beyond 64 bits."""
    try:
        return orjson.dumps(value)
    except TypeError:
        return json.dumps(value, ensure_ascii=False).encode()


def plain(value: Any) -> Any:
    """Return the value with integers beyond 64 bits as floats, or as digits if too large."""
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        try:
            return float(value)
        except OverflowError:
            return str(value)
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items()}
    if isinstance(value, list):
        return [plain(each) for each in value]
    return value
