"""Which call a path of the open inference protocol is.

A model's id may hold slashes, and clients send them escaped or as they are. So a path may
be read in several ways: ``a/versions/1/infer`` is version 1 of ``a``, or the model
``a/versions/1``. All readings are given, the one of the protocol first, and which of them
is meant is decided by which model there is. With its slashes escaped an id is one segment,
and has one reading.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal
from urllib.parse import quote, unquote_to_bytes

from proxy import limits

Kind = Literal["metadata", "ready", "config", "stats", "infer"]
REMEMBERED, REMEMBERED_BYTES = 1024, 512
METHODS: dict[Kind, str] = {
    "metadata": "GET",
    "ready": "GET",
    "config": "GET",  # of Triton's extensions, as is the next
    "stats": "GET",
    "infer": "POST",
}
ENDINGS: dict[bytes, Kind] = {
    kind.encode(): kind for kind in METHODS if kind != "metadata"
}


@dataclass(frozen=True, slots=True)
class Call:
    """A call about one model. Its id may hold anything, encoded slashes too."""

    kind: Kind
    model_id: str
    version: str | None = None

    @property
    def method(self) -> str:
        return METHODS[self.kind]

    def upstream_path(self, name: str, version: str | None) -> str:
        """Percent-encoded, below the base of the server that knows it by ``name``."""
        return _path(self.kind, name, version)


def read_path(raw_path: bytes) -> tuple[Call, ...]:
    """The readings of a path as it came, not decoded; the likeliest first."""
    if len(raw_path) > REMEMBERED_BYTES:
        return _read(raw_path)
    return _remembered(raw_path)


def method_of(raw_path: bytes) -> str:
    """The method of a path as the protocol reads it."""
    return METHODS[ENDINGS.get(raw_path.rpartition(b"/")[2], "metadata")]


def _read(raw_path: bytes) -> tuple[Call, ...]:
    match raw_path.split(b"/"):
        case [b"", b"v2", b"models", *segments] if segments:
            return tuple(_readings(segments))
        case _:
            return ()


def _readings(segments: list[bytes]) -> Iterator[Call]:
    """The longest ending that the protocol knows first: the id is then the shortest."""
    *beginning, last = segments
    kind = ENDINGS.get(last)
    for ending, before in ((kind, beginning), ("metadata", segments)):
        if ending is None:
            continue
        match before:
            case [_, *_, b"versions", last] if version := _decode(last):
                if model_id := _decode(b"/".join(before[:-2])):
                    yield Call(ending, model_id, version)
        if model_id := _decode(b"/".join(before)):
            yield Call(ending, model_id)


_remembered = lru_cache(REMEMBERED)(_read)


@lru_cache(REMEMBERED)
def _path(kind: Kind, name: str, version: str | None) -> str:
    path = f"/v2/models/{encode(name)}"
    if version is not None:
        path += f"/versions/{encode(version)}"
    return path if kind == "metadata" else f"{path}/{kind}"


def encode(segment: str) -> str:
    """One segment of a path; dots alone would be read as steps in it."""
    return quote(segment, safe="") if segment.strip(".") else "%2E" * len(segment)


def is_id(text: str) -> bool:
    """Whether it can be an id of the outside world."""
    if not 1 <= len(text) <= limits.ID_MAX_CHARS or text in (".", ".."):
        return False
    return text.isprintable() or not any(_is_control(each) for each in text)


def _is_control(character: str) -> bool:
    return character < " " or "\x7f" <= character <= "\x9f"


def _decode(segment: bytes) -> str | None:
    try:
        text = unquote_to_bytes(segment).decode()
    except UnicodeDecodeError:
        return None
    return text if is_id(text) else None
