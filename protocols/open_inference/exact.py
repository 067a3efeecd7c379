"""Metadata as it was written: numbers digit by digit, and names that stand twice.

Parsers make ``1.5`` of ``1.50`` and one member of two with a name. What a person sent as
metadata is kept as it came, so these readers keep the text beside the value.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from protocols.open_inference.bounded_json import check_bounds

READ_MOST = 2 * 2**20  # of a header; metadata in larger ones is read as values
NAMES_TOLD = 100  # of those that stand twice
BLANKS = re.compile(r"[ \t\n\r]*")
DECODER = json.JSONDecoder()


class Number(str):
    """A number, as its digits."""


class Members(list[tuple[str, Any]]):
    """The members of an object in their order, those included whose names come again."""

    def get(self, name: str) -> Any:
        """The value that parsers take: the last of that name."""
        return dict(self).get(name)

    @property
    def repeated(self) -> list[str]:
        counts = Counter(name for name, _ in self)
        return sorted(name for name, count in counts.items() if count > 1)


def keep_metadata_text(document: dict[str, Any], header: bytes) -> list[str]:
    """Put the text of metadata in the place of its value, in the request and its inputs.

    Returns a warning for each name that stands twice in parameters, up to ``NAMES_TOLD``.
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
        if isinstance(given, list):  # members are a list, too
            value["parameters"]["metadata"] = write(given)
    return _describe(twice)


def _describe(twice: list[str]) -> list[str]:
    """Every part of the request carries the warnings, so there are few of them."""
    warnings = [
        f"{name!r:.80} stands twice in parameters; the last one counts."
        for name in twice[:NAMES_TOLD]
    ]
    if len(twice) > NAMES_TOLD:
        more = len(twice) - NAMES_TOLD
        warnings.append(f"{more} more names stand twice in parameters.")
    return warnings


def write(value: Any) -> str:
    """The JSON text of a value that was read here."""
    if isinstance(value, Number):
        return str(value)
    if isinstance(value, Members):
        members = (f"{_quote(name)}:{write(each)}" for name, each in value)
        return f"{{{','.join(members)}}}"
    if isinstance(value, list):
        return f"[{','.join(map(write, value))}]"
    return _quote(value)


def members_of(text: str) -> Iterator[tuple[str, Any, str]]:
    """The members of an object in a JSON text: name, value, and the value's own text."""
    position = _after_blanks(text, _after_blanks(text, 0) + 1)
    while text[position] != "}":
        name, position = DECODER.raw_decode(text, position)
        start = _after_blanks(text, _after_blanks(text, position) + 1)
        value, position = DECODER.raw_decode(text, start)
        yield name, value, text[start:position]
        position = _after_separator(text, position)


def elements_of(text: str) -> Iterator[tuple[Any, str]]:
    """The elements of a list in a JSON text: each value, and its own text."""
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
    return json.dumps(value, ensure_ascii=False)


def _after_blanks(text: str, position: int) -> int:
    return BLANKS.match(text, position).end()


def _after_separator(text: str, position: int) -> int:
    position = _after_blanks(text, position)
    return _after_blanks(text, position + 1) if text[position] == "," else position
