"""What ground truth is joined by: an inference id, a metadata value, or a hash of the input.

A reference has tokens, and every inference that it means has one of them among its own. A
value such as ``12`` means the text, the whole number and the decimal number alike, so it has
three tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from django.conf import settings

from inferences.models import MetadataType
from inferences.models.metadata_values import (
    UNSTORABLE,
    MetadataValue,
    in_slot,
    read_float,
    read_int,
)
from istore.outside_ids import OUTSIDE_ID, is_outside_id

VALUE_MAX_BYTES = 512  # of a metadata value to join by
INFERENCE, HASH, METADATA = "inference_id", "data_hash", "metadata"
Number = TypeVar("Number", int, float)


@dataclass(frozen=True, slots=True)
class Reference:
    """What a value is joined by; ``key`` is the metadata key. Raises ValueError if not valid."""

    by: str
    value: str
    key: str = ""

    def __post_init__(self) -> None:
        if UNSTORABLE.search(self.key + self.value):
            raise ValueError("It holds a NUL or half a surrogate pair.")
        if self.by == HASH and not _is_hash(self.value):
            raise ValueError("A SHA-256 has 64 hexadecimal digits.")
        if self.by == INFERENCE and not is_outside_id(self.value):
            raise ValueError(str(OUTSIDE_ID.message))
        if self.by == METADATA:
            if not 0 < len(self.key) <= settings.ISTORE_METADATA_KEY_MAX_CHARS:
                raise ValueError("A metadata key is expected.")
            if len(self.value.encode()) > VALUE_MAX_BYTES:
                raise ValueError(f"A value to join by has {VALUE_MAX_BYTES} bytes.")

    @property
    def whole(self) -> int | None:
        """Return the value as an int, or None; ``7.0`` is 7, as pandas writes it beside a gap."""
        if self.by != METADATA:
            return None
        number, point, rest = self.value.partition(".")
        return _read(read_int, number if point and not rest.strip("0") else self.value)

    @property
    def real(self) -> float | None:
        """Return the value as a float, or None."""
        return _read(read_float, self.value) if self.by == METADATA else None

    @property
    def text(self) -> str:
        """Return the value as it is searched: a hash in lower case, a text as slots hold it."""
        return self.value.lower() if self.by == HASH else in_slot(self.value)

    @property
    def tokens(self) -> list[str]:
        """Return the tokens, one for each type that the value may have."""
        if self.by != METADATA:
            return [f"{self.by}\n{self.text}"]
        found = [_token(MetadataType.STRING, self.key, self.text)]
        if self.whole is not None:
            found.append(_token(MetadataType.INT, self.key, self.whole))
        if self.real is not None:
            found.append(_token(MetadataType.FLOAT, self.key, self.real))
        return found

    def __str__(self) -> str:
        if self.by == METADATA:
            return f"metadata.{self.key}={self.value}"
        return f"{self.by}={self.text}"


def tokens_of(
    inference_id: str, data_hash: str, metadata: Mapping[str, Iterable[str]]
) -> list[str]:
    """Return the tokens of an inference; ``metadata`` is in the form of payloads."""
    found = [f"{INFERENCE}\n{inference_id}", f"{HASH}\n{data_hash}"]
    for key, (type_, text) in metadata.items():
        if type_ != MetadataType.JSON:
            value = MetadataValue(key, MetadataType(type_), text).value
            slot = in_slot(value) if isinstance(value, str) else value
            found.append(_token(type_, key, slot))
    return found


def _token(type_: str, key: str, value: object) -> str:
    # Adding 0.0 turns -0.0 into 0.0: they are equal, but print differently.
    shown = repr(value + 0.0) if isinstance(value, float) else str(value)
    return f"{type_}\n{key}\n{shown}"


def _is_hash(text: str) -> bool:
    return len(text) == 64 and all(c in "0123456789abcdefABCDEF" for c in text)


def _read(read: Callable[[str], Number], text: str) -> Number | None:
    try:
        return read(text)
    except ValueError:
        return None
