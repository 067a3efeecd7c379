"""Custom metadata in the parameters of a request.

Parameters of the protocol are strings, numbers and booleans, so the list of items is a JSON
text; a real list or mapping is accepted, too. No item raises: an invalid one is left out, with a
warning that says why.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from protocols.open_inference.bounded_json import check_bounds
from protocols.open_inference.exact import elements_of, members_of
from protocols.open_inference.parameters import merge
from protocols.open_inference.tensors import read_document

MAX_ITEMS = 100
MAX_KEY_CHARS = 256
MAX_VALUE_BYTES = 64 * 1024
MAX_SOURCE_CHARS = 255
MAX_METADATA_VALUES = 250_000  # JSON values of one text; a list of items has a hundred
SMALLEST, LARGEST = -(2**63), 2**63 - 1  # of an item of type int

Item = dict[str, str]

NOT_JSON = object()  # an entry that stands for a text that is not JSON
TWICE = object()  # key, in an entry, of the name of a repeated member
TEXT = object()  # key, in an entry, of the text that its value was written as
INT = re.compile(r"-?[0-9]{1,19}")
FLOAT = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
ESCAPED_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")


def metadata_items(
    parameters: Mapping[str, Any],
    *,
    max_items: int = MAX_ITEMS,
    max_key_chars: int = MAX_KEY_CHARS,
    max_value_bytes: int = MAX_VALUE_BYTES,
) -> tuple[list[Item], list[str]]:
    """Return the items of ``metadata``, each with key, type and value as text, and warnings.

    The type is string, int, float or json; the value of json is its JSON text. Of two items with
    the same key the first counts.
    """
    given = parameters.get("metadata") if isinstance(parameters, Mapping) else None
    items: dict[str, Item] = {}
    warnings: list[str] = []
    for number, entry in enumerate(_entries(given)):
        if number == max_items:
            warnings.append(
                f"Metadata after the first {max_items} items was set aside."
            )
            break
        try:
            item = _item(entry, max_key_chars, max_value_bytes)
            if item["key"] in items:
                raise ValueError(f"The key {_quote(item['key'])} is there twice.")
        except ValueError as error:
            warnings.append(f"Metadata item {number} was set aside: {error}")
        else:
            items[item["key"]] = item
    return list(items.values()), warnings


def reserved(
    items: list[Item],
) -> tuple[float | None, float | None, str | None, list[str]]:
    """Return latitude, longitude and data source of the items, and warnings.

    Coordinates are in degrees, and either both within their range or both None.
    """
    values = {item["key"]: item["value"] for item in items}
    warnings: list[str] = []
    latitude = _degrees(values, "latitude", 90, warnings)
    longitude = _degrees(values, "longitude", 180, warnings)
    if (latitude is None) != (longitude is None):
        if not warnings:
            given = {n: values[n] for n in ("latitude", "longitude") if n in values}
            warnings.append(
                "Latitude and longitude count together; one is missing: "
                f"{given!s:.100} was set aside."
            )
        latitude = longitude = None
    source = values.get("data_source") or None
    if source is not None and len(source) > MAX_SOURCE_CHARS:
        warnings.append(
            f"The data_source was set aside: it is longer than {MAX_SOURCE_CHARS} "
            "characters."
        )
        source = None
    return latitude, longitude, source, warnings


def parameters_by_part(parameters: dict[str, Any], count: int) -> list[dict[str, Any]]:
    """Return the parameters of each of ``count`` parts.

    If ``metadata`` is a list of ``count`` members that are lists of items or mappings, each part
    gets one; null means none. Everything else is shared by all parts.
    """
    own = _by_part(parameters.get("metadata"), count)
    if own is None:
        return [parameters] * count
    read = merge(parameters)
    return [{**read, "metadata": each} for each in own]


def _by_part(given: Any, count: int) -> list[str] | None:
    if isinstance(given, list):
        given = json.dumps(given)
    if not isinstance(given, str) or not given.lstrip().startswith("["):
        return None
    try:
        _read_exact(given)
        found = list(elements_of(given))
    except (ValueError, RecursionError):
        return None
    if len(found) != count or not all(_is_whole(value) for value, _ in found):
        return None
    return ["" if value is None else text for value, text in found]


def _is_whole(value: Any) -> bool:
    """Return whether the value is the whole metadata of one part, and not one of its items."""
    if isinstance(value, Mapping):
        return not _is_item(value)
    return value is None or isinstance(value, list)


def strip_metadata(
    body: bytes, header_length: int | None = None
) -> tuple[bytes, int | None]:
    """Return the body without ``metadata`` in any parameters, and the length of its header.

    Without metadata it is the same object. Raises ``V2Error`` if the body cannot be parsed.
    """
    if header_length == 0:
        return body, header_length
    document, raw = read_document(body, header_length)
    inputs = document.get("inputs")
    holders = [document, *(inputs if isinstance(inputs, list) else ())]
    if not sum(map(_drop_metadata, holders)):
        return body, header_length
    header = _write(document, body)
    if header_length is None:
        return header, None
    return b"".join((header, raw)), len(header)


def _drop_metadata(holder: Any) -> bool:
    parameters = holder.get("parameters") if isinstance(holder, dict) else None
    if not isinstance(parameters, dict) or "metadata" not in parameters:
        return False
    del parameters["metadata"]
    return True


def _write(document: dict[str, Any], before: bytes) -> bytes:
    if b"NaN" in before or b"Infinity" in before:  # orjson would write null for these
        return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
    return orjson.dumps(document)


def _entries(given: Any) -> Iterator[Any]:
    """Yield the items of a list, a mapping, their JSON text, or a list of such texts."""
    if isinstance(given, str) and given:
        try:
            value = _read_exact(given)
        except (ValueError, RecursionError):
            yield NOT_JSON
            return
        yield from _entries_of_text(given, value)
        return
    if isinstance(given, Mapping) and not _is_item(given):
        yield from ({"key": key, "value": value} for key, value in given.items())
    elif isinstance(given, list):
        for entry in given:
            if isinstance(entry, str):  # the metadata of one of several inputs
                yield from _entries(entry)
            else:
                yield entry
    elif given is not None and given != "":
        yield given


def _entries_of_text(text: str, value: Any) -> Iterator[Any]:
    """Yield the same as ``_entries``, each item with the text of its value."""
    if isinstance(value, Mapping) and not _is_item(value):
        for key, inner, written in members_of(text):
            yield {"key": key, "value": inner, TEXT: written}
    elif isinstance(value, Mapping):
        yield _written_item(text)
    elif isinstance(value, list):
        for entry, written in elements_of(text):
            if isinstance(entry, str):  # the metadata of one of several inputs
                yield from _entries(entry)
            else:
                yield _written_item(written) if isinstance(entry, Mapping) else entry
    elif value is not None and value != "":
        yield value


def _written_item(text: str) -> dict[Any, Any]:
    item: dict[Any, Any] = {}
    for name, value, written in members_of(text):
        if name in item:
            item[TWICE] = name
        item[name] = value
        if name == "value":
            item[TEXT] = written
    return item


def _read_exact(text: str) -> Any:
    """Return the parsed text; whole numbers keep all digits, which orjson would not do."""
    check_bounds(text.encode(), max_values=MAX_METADATA_VALUES)
    return json.loads(text)


def _is_item(entry: Mapping[str, Any]) -> bool:
    return len(entry.keys() & {"key", "type", "value"}) >= 2


def _item(entry: Any, max_key_chars: int, max_value_bytes: int) -> Item:
    if entry is NOT_JSON:
        raise ValueError("the text is not valid JSON.")
    if not isinstance(entry, Mapping):
        raise ValueError("it is not an object of key, type and value.")
    if TWICE in entry:
        raise ValueError(f"it names {_quote(entry[TWICE])} twice.")
    key, value = entry.get("key"), entry.get("value")
    if not isinstance(key, str) or not key:
        raise ValueError("its key is not a text.")
    if len(key) > max_key_chars:
        raise ValueError(f"its key is longer than {max_key_chars} characters.")
    _check_characters(key, "its key")
    kind = entry.get("type")
    if kind is None:
        kind = next((name for name, fits in INFERRED if isinstance(value, fits)), None)
    if not isinstance(kind, str) or kind not in WRITERS or _is_refused(value):
        raise ValueError(
            f"the type of {_quote(key)} is not string, int, float or json."
        )
    try:
        text = WRITERS[kind](value, entry.get(TEXT))
        size = len(text.encode())
    except (ValueError, TypeError, RecursionError):
        raise ValueError(f"the value of {_quote(key)} is not a valid {kind}.") from None
    if size > max_value_bytes:
        raise ValueError(
            f"the value of {_quote(key)} is longer than {max_value_bytes} bytes."
        )
    if kind == "string":
        _check_characters(text, f"the value of {_quote(key)}")
    return {"key": key, "type": kind, "value": text}


def _is_refused(value: Any) -> bool:
    return value is None or isinstance(value, bool)


def _check_characters(text: str, what: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{what} holds half a character.") from None
    if "\0" in text:
        raise ValueError(f"{what} holds a NUL character.")


def _string(value: Any, written: str | None = None) -> str:
    if isinstance(value, int | float):
        return _float(value) if isinstance(value, float) else str(value)
    if not isinstance(value, str):
        raise ValueError
    return value


def _int(value: Any, written: str | None = None) -> str:
    if isinstance(value, str) and INT.fullmatch(value):
        value = int(value)
    if not isinstance(value, int) or not SMALLEST <= value <= LARGEST:
        raise ValueError
    return str(value)


def _float(value: Any, written: str | None = None) -> str:
    """Return the text of a float: as it was written, or a whole number written as a float."""
    if isinstance(value, str) and not FLOAT.fullmatch(value):
        raise ValueError
    try:
        number = float(value)
    except OverflowError:
        raise ValueError from None
    if not math.isfinite(number):
        raise ValueError
    if isinstance(value, str):
        return value
    return written if written is not None and isinstance(value, float) else repr(number)


def _json(value: Any, written: str | None = None) -> str:
    """Return the JSON text as it was written, once it is known to be valid."""
    if isinstance(value, str):
        written, value = value, _read_exact(value)
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    text.encode()  # raises for a lone surrogate, escaped or not
    text = text if written is None else written
    if ESCAPED_NUL.search(text) or _has_twice(text):
        raise ValueError
    return text


def _has_twice(text: str) -> bool:
    """Return whether any object in it, at any depth, has a repeated name."""
    found = False

    def look(members: list[tuple[str, Any]]) -> None:
        nonlocal found
        found |= len({name for name, _ in members}) < len(members)

    json.loads(text, object_pairs_hook=look)
    return found


WRITERS = {"string": _string, "int": _int, "float": _float, "json": _json}
INFERRED = (("string", str), ("int", int), ("float", float), ("json", dict | list))


def _degrees(
    values: Mapping[str, str], name: str, limit: int, warnings: list[str]
) -> float | None:
    if name not in values:
        return None
    text = values[name]
    if FLOAT.fullmatch(text) and abs(float(text)) <= limit:
        return float(text)
    warnings.append(
        f"The {name} {_quote(text)} was set aside: it is not within {-limit} and {limit}."
    )
    return None


def _quote(text: str) -> str:
    return repr(text[:60])
