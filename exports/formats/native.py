"""Metadata and answers as JSON that readers outside can hold."""

from __future__ import annotations

import json
from typing import Any

import orjson

from exports.members import Member


def natives(member: Member) -> dict[str, Any]:
    """The metadata as values of JSON, by key."""
    return {key: plain(value.native) for key, value in member.metadata.items()}


def texts(member: Member) -> list[dict[str, str]]:
    """The metadata in one shape for all rows of a table: ``{key, type, value}``."""
    return [
        {"key": key, "type": value.type, "value": value.text}
        for key, value in member.metadata.items()
    ]


def write(value: Any) -> bytes:
    """As JSON, whole numbers beyond 64 bits included."""
    try:
        return orjson.dumps(value)
    except TypeError:
        return json.dumps(value, ensure_ascii=False).encode()


def plain(value: Any) -> Any:
    """What 64 bits can hold: a larger whole number becomes a double, or its digits."""
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
