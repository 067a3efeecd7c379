"""Clean up creates that data frames wrote: gaps in metadata, whole numbers as decimals.

In pandas a column of numbers with a gap is decimal, so ``7`` becomes ``7.0`` and the gap is
NaN. A metadata value that is a gap is left out instead of failing the whole row.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from inferences.ground_truth.labels import MISSING, WHOLE
from inferences.models import MetadataType
from istore.json_text import read_json, write_json

NUMBERS = (MetadataType.INT, MetadataType.FLOAT)


def read_line(line: bytes) -> Any:
    """Parse a line of NDJSON; NaN, which Python's ``json`` writes for a gap, becomes null."""
    return read_json(line, nan_is_null=True)


def without_gaps(body: Any) -> Any:
    """Return the body without metadata gaps, each value as the text of its type.

    Returns the body itself if there is nothing to change.
    """
    try:
        data = body["data"]
        metadata = data["metadata"]
        standard = dict(metadata["standard_metadata"])
        given = metadata.get("extended_metadata") or []
        kept = [_value(each) for each in given if not _is_gap(each)]
    except (TypeError, KeyError, AttributeError):
        return body
    size = standard.get("data_size")
    if kept == given and not isinstance(size, float):
        return body
    standard["data_size"] = _whole(size)
    metadata = {"standard_metadata": standard, "extended_metadata": kept}
    return {**body, "data": {**data, "metadata": {**data["metadata"], **metadata}}}


def _is_gap(given: Any) -> bool:
    if not isinstance(given, Mapping) or "value" not in given:
        return False
    value = given["value"]
    if value is None or value != value:
        return True
    return given.get("type") in NUMBERS and value in ("", *MISSING)


def _value(given: Any) -> Any:
    if not isinstance(given, Mapping) or "value" not in given:
        return given
    value, type_ = given["value"], given.get("type")
    if type_ == MetadataType.INT:
        value = _whole(value)
        found = WHOLE.fullmatch(value) if isinstance(value, str) else None
        if found and found["rest"]:
            value = value.partition(".")[0]
    if not isinstance(value, str):
        is_number = type(value) in (int, float) and type_ != MetadataType.JSON
        value = str(value) if is_number else write_json(value)
    return {**given, "value": value}


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value
