"""Typed metadata: a value as it was given, and the parts of it that filters compare.

The API and events carry a value as ``{key, type, value}`` with the value as text. The parts
that are compared lie in slots: a string, a whole number, a double, and every leaf of a JSON
value under its dotted path.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import orjson
from django.conf import settings

from inferences.models import MetadataKind, MetadataType
from istore import json_text
from istore.errors import BadInput

SMALLEST, LARGEST = -(2**63), 2**63 - 1
WHOLE = re.compile(r"-?[0-9]{1,19}")
# Stricter than Python's float(), which also reads "1_000", "nan" and "infinity".
REAL = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")
# Exponents of five digits and more are refused: no double needs one, and PostgreSQL's
# numbers do not reach as far.
LONG_EXPONENT = re.compile(r"[0-9.][eE][+-]?[0-9]{5}")
JSON_STRING = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
LARGEST_DOUBLE = sys.float_info.max
UNSTORABLE = re.compile("[\x00\ud800-\udfff]")

# PostgreSQL refuses a B-tree entry above 2,704 bytes. So a slot holds a text above
# SLOT_BYTES as its first SLOT_BEGINNING bytes and its hash. Two such values are equal
# exactly when the texts are; they are ordered by the beginning alone.
SLOT_BYTES, SLOT_BEGINNING = 512, 448
LEAVES_MAX = 1000
# For all values of one inference: each leaf may become a row, and a new key.
LEAVES_TOGETHER_MAX = 5000
PATH_MAX_CHARS = 1024

RESERVED = frozenset({"latitude", "longitude", "data_source"})
# Read once: a batch has thousands of values, and Django's settings object is slow to ask.
KEY_MAX_CHARS: int = settings.ISTORE_METADATA_KEY_MAX_CHARS
VALUE_MAX_BYTES: int = settings.ISTORE_METADATA_VALUE_MAX_BYTES


def read_int(text: str) -> int:
    """Return the text as an int of 64 bits. Raises ``ValueError``."""
    if not WHOLE.fullmatch(text) or not SMALLEST <= int(text) <= LARGEST:
        raise ValueError(f"{_show(text)} is not a valid int.")
    return int(text)


def read_float(text: str) -> float:
    """Return the text as a finite float. Raises ``ValueError``."""
    if not REAL.fullmatch(text.strip()):
        raise ValueError(f"{_show(text)} is not a valid float.")
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{_show(text)} is out of range.")
    return value


def read_number(text: str) -> int | float:
    """Return a whole number of up to 19 digits as an int, and any other number as a float.

    Raises ``ValueError``.
    """
    text = text.strip()
    return int(text) if WHOLE.fullmatch(text) else read_float(text)


def read_string(text: str) -> str:
    """Return the text itself."""
    return text


def read_json(text: str) -> Any:
    """Return the JSON value, read under the rules of every API body. Raises ``ValueError``."""
    try:
        value = json_text.read_json(text.encode("utf-8", "surrogatepass"))
    except BadInput as error:
        raise ValueError(f"not valid JSON: {error}") from None
    if LONG_EXPONENT.search(text) and LONG_EXPONENT.search(JSON_STRING.sub("", text)):
        raise ValueError("not valid JSON: an exponent has more than four digits.")
    return value


READERS: dict[str, Callable[[str], Any]] = {
    MetadataType.STRING: read_string,
    MetadataType.INT: read_int,
    MetadataType.FLOAT: read_float,
    MetadataType.JSON: read_json,
}


# Of every type but JSON, whose leaves have kinds of their own.
KINDS: dict[str, MetadataKind] = {
    MetadataType.STRING: MetadataKind.STRING,
    MetadataType.INT: MetadataKind.INT,
    MetadataType.FLOAT: MetadataKind.FLOAT,
}


def metadata_type(name: str) -> MetadataType:
    """Return the type of this name. Raises ``ValueError`` if there is none."""
    if name not in READERS:
        raise ValueError(f"A type is one of {', '.join(READERS)}.")
    return MetadataType(name)


@dataclass(frozen=True, slots=True)
class MetadataValue:
    """One value of one key, as it was given. Raises ``ValueError`` when it cannot be read."""

    key: str
    type: MetadataType
    text: str
    value: Any = field(init=False, repr=False, compare=False)
    #: The values by which filters find it: a slot value per (path, kind).
    comparable: dict[tuple[str, MetadataKind], Any] = field(
        init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        if not 0 < len(self.key) <= KEY_MAX_CHARS:
            raise ValueError(f"A metadata key has 1 to {KEY_MAX_CHARS} characters.")
        if UNSTORABLE.search(self.key + self.text):
            raise ValueError(f"{self.key!r} holds a NUL or half a surrogate pair.")
        # A character has four bytes at most, so most texts need not be encoded.
        if 4 * len(self.text) > VALUE_MAX_BYTES < len(self.text.encode()):
            raise ValueError(
                f"The value of {self.key!r} is longer than {VALUE_MAX_BYTES} bytes."
            )
        value = READERS[self.type](self.text)
        comparable = self._comparable(value)
        if len(comparable) > LEAVES_MAX:
            raise ValueError(f"{self.key!r} has more than {LEAVES_MAX} leaves.")
        object.__setattr__(self, "value", value)
        object.__setattr__(self, "comparable", comparable)

    def _comparable(self, value: Any) -> dict[tuple[str, MetadataKind], Any]:
        kind = KINDS.get(self.type)
        if kind is None:
            # Paths are split at their dots, so a key with a dot has no leaves to search by.
            return dict(_leaves(self.key, value)) if "." not in self.key else {}
        if kind is MetadataKind.STRING:
            value = in_slot(value)
        return {(self.key, kind): value}


def in_slot(text: str) -> str:
    """Return the text as a slot holds it: whole up to 512 bytes, else beginning and hash."""
    if 4 * len(text) <= SLOT_BYTES:  # a character has four bytes at most
        return text
    encoded = text.encode()
    if len(encoded) <= SLOT_BYTES:
        return text
    beginning = encoded[:SLOT_BEGINNING].decode("utf-8", "ignore")
    return beginning + hashlib.sha256(encoded).hexdigest()


def number_in(text: str) -> float | None:
    """Return the number that a string inside JSON reads as, or None if it is no finite number."""
    if len(text) > 400 or not REAL.fullmatch(text) or LONG_EXPONENT.search(text):
        return None
    value = float(text)
    return value if math.isfinite(value) else None


def _leaves(path: str, value: Any) -> Iterator[tuple[tuple[str, MetadataKind], Any]]:
    """Yield the strings and numbers of a JSON value by path. Elements of arrays are left out."""
    waiting = [(path, value)]
    while waiting:
        path, value = waiting.pop()
        if isinstance(value, dict):
            waiting += [(f"{path}.{k}", v) for k, v in value.items() if "." not in k]
        elif len(path) > PATH_MAX_CHARS or isinstance(value, bool):
            continue
        elif isinstance(value, str):
            yield (path, MetadataKind.JSON_STRING), in_slot(value)
            if (number := number_in(value)) is not None:
                yield (path, MetadataKind.JSON_NUMBER), number
        elif isinstance(value, int | float) and abs(value) <= LARGEST_DOUBLE:
            yield (path, MetadataKind.JSON_NUMBER), float(value)


def as_given(values: list[MetadataValue]) -> dict[str, list[str]]:
    """Return the values in the form of ``InferencePayload.metadata``: ``{key: [type, text]}``."""
    return {each.key: [str(each.type), each.text] for each in values}


def canonical(value: Any) -> bytes:
    """Return the same bytes for equal JSON values; content hashes are made of them."""
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except TypeError:  # a whole number beyond 64 bits, or a lone surrogate
        text = json.dumps(
            value, sort_keys=True, ensure_ascii=False, separators=(",", ":")
        )
        return text.encode("utf-8", "surrogatepass")


def _show(text: str) -> str:
    return repr(text if len(text) <= 40 else f"{text[:39]}…")
