"""Metadata as its text was written: numbers digit by digit, and names that are repeated.

Parsers turn ``1.50`` into ``1.5``, and two members of the same name into one. Metadata must be
kept as a person sent it, so these readers keep the text beside the value.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from protocols.open_inference.bounded_json import check_bounds

READ_MOST = 2 * 2**20  # bytes of a header; in larger ones metadata is kept as values
NAMES_TOLD = 100  # repeated names that get a warning of their own
BLANKS = re.compile(r"[ \t\n\r]*")
DECODER = json.JSONDecoder()
ENCODER = json.JSONEncoder(ensure_ascii=False)


class Number(str):
    """The text of a number."""


class Members(list[tuple[str, Any]]):
    """The members of an object in their order, including those with a repeated name."""

    def get(self, name: str) -> Any:
        """Return the value that parsers take: the last one of that name. None if there is none."""
        return dict(self).get(name)

    @property
    def repeated(self) -> list[str]:
        """The names that occur more than once, sorted."""
        names = [name for name, _ in self]
        if len(set(names)) == len(names):
            return []
        return sorted(name for name, count in Counter(names).items() if count > 1)


def keep_metadata_text(document: dict[str, Any], header: bytes) -> list[str]:
    """Replace the metadata of the request and of its inputs by its own text, in place.

    Returns a warning for each name that is repeated in parameters, up to ``NAMES_TOLD``.
    """
    if b'"parameters"' not in header or len(header) > READ_MOST:
        return []
    try:
        written = _read(header)
    except (ValueError, RecursionError):
        return []
    if not isinstance(written, Members):
        return []
    inputs, exact = document.get("inputs"), written.get("inputs")
    holders: list[tuple[Any, Any]] = [(document, written)]
    if isinstance(inputs, list) and isinstance(exact, list):
        holders += zip(inputs, exact, strict=False)
    twice: list[str] = []
    for value, text in holders:
        if not isinstance(text, Members):
            continue
        parameters = text.get("parameters")
        if not isinstance(parameters, Members):
            continue
        twice += parameters.repeated
        given = parameters.get("metadata")
        if isinstance(given, list):  # ``Members``, an object, is a list as well
            value["parameters"]["metadata"] = write(given)
    return _limit_warnings(twice)


def _limit_warnings(twice: list[str]) -> list[str]:
    """Return few warnings: every part of the request carries all of them."""
    warnings = [
        f"{name!r:.80} stands twice in parameters; the last one counts."
        for name in twice[:NAMES_TOLD]
    ]
    if len(twice) > NAMES_TOLD:
        more = len(twice) - NAMES_TOLD
        warnings.append(f"{more} more names stand twice in parameters.")
    return warnings


def write(value: Any) -> str:
    """Return the JSON text of a value that ``_read`` returned."""
    if isinstance(value, Number):
        return str(value)
    if isinstance(value, Members):
        members = (f"{_quote(name)}:{write(each)}" for name, each in value)
        return f"{{{','.join(members)}}}"
    if isinstance(value, list):
        return f"[{','.join(map(write, value))}]"
    return _quote(value)


def members_of(text: str) -> Iterator[tuple[str, Any, str]]:
    """Yield the members of an object in a valid JSON text: name, value, and the value's text."""
    position = _after_blanks(text, _after_blanks(text, 0) + 1)
    while text[position] != "}":
        name, position = DECODER.raw_decode(text, position)
        start = _after_blanks(text, _after_blanks(text, position) + 1)
        value, position = DECODER.raw_decode(text, start)
        yield name, value, text[start:position]
        position = _after_separator(text, position)


def elements_of(text: str) -> Iterator[tuple[Any, str]]:
    """Yield the elements of a list in a valid JSON text: each value, and its text."""
    position = _after_blanks(text, _after_blanks(text, 0) + 1)
    while text[position] != "]":
        value, end = DECODER.raw_decode(text, position)
        yield value, text[position:end]
        position = _after_separator(text, end)


def _read(header: bytes) -> Any:
    check_bounds(header)
    return json.loads(
        header,
        parse_float=Number,
        parse_int=Number,
        parse_constant=Number,
        object_pairs_hook=Members,
    )


def _quote(value: Any) -> str:
    return ENCODER.encode(value)


def _after_blanks(text: str, position: int) -> int:
    blanks = BLANKS.match(text, position)
    return blanks.end() if blanks else position


def _after_separator(text: str, position: int) -> int:
    position = _after_blanks(text, position)
    return _after_blanks(text, position + 1) if text[position] == "," else position
