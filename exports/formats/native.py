"""Metadata and answers as JSON within the range of other readers."""

from __future__ import annotations

import json
from typing import Any

import orjson

from exports.members import Damaged, Member, decoding

NO_TYPE = "Type is not JSON serializable"  # orjson tells it by its message alone


def natives(member: Member) -> dict[str, Any]:
    """Return the metadata as JSON values by key."""
    with decoding():
        return {key: plain(value.native) for key, value in member.metadata.items()}


def texts(member: Member) -> list[dict[str, str]]:
    """Return the metadata as ``{key, type, value}``, one shape for all rows of a table."""
    return [
        {"key": key, "type": value.type, "value": value.text}
        for key, value in member.metadata.items()
    ]


def to_json(value: Any) -> bytes:
    """Return the value as JSON, including integers beyond 64 bits.

    Raises ``Damaged`` for what no JSON holds: half a surrogate pair, or too many levels.
    """
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError:
        try:
            return json.dumps(value, ensure_ascii=False).encode()
        except (RecursionError, UnicodeEncodeError) as error:
            raise Damaged from error


def to_strict_json(value: Any) -> bytes:
    """Return the value as JSON within the range of other readers.

    Raises ``Damaged`` for content beyond it: integers beyond 64 bits, half a surrogate pair, or
    too many levels. A value of a type that JSON does not have is a fault of its caller.
    """
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError as error:
        if NO_TYPE in str(error):
            raise
        raise Damaged from error


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
