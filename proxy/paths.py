"""Parse the paths of the open inference protocol.

A model's id may hold slashes, and clients send them escaped or as they are. So a path can be
ambiguous: ``a/versions/1/infer`` is version 1 of ``a``, or the model ``a/versions/1``. All
readings are returned, that of the protocol first, and the models that exist decide which one is
meant. With its slashes escaped an id is one segment, and the path has one reading.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal
from urllib.parse import quote, unquote_to_bytes

from proxy import limits

Kind = Literal[
    "metadata", "ready", "config", "stats", "infer", "generate", "generate_stream"
]
REMEMBERED, REMEMBERED_BYTES = 1024, 512  # paths cached, and their longest
METHODS: dict[Kind, str] = {
    "metadata": "GET",
    "ready": "GET",
    "config": "GET",  # a Triton extension
    "stats": "GET",  # another
    "infer": "POST",
    "generate": "POST",  # two more, whose bodies are plain JSON
    "generate_stream": "POST",
}
PLAIN: frozenset[Kind] = frozenset({"generate", "generate_stream"})
ENDINGS: dict[bytes, Kind] = {
    kind.encode(): kind for kind in METHODS if kind != "metadata"
}


@dataclass(frozen=True, slots=True)
class Call:
    """A call about one model. The model's id may hold anything, encoded slashes too."""

    kind: Kind
    model_id: str
    version: str | None = None

    @property
    def method(self) -> str:
        """The HTTP method of this kind of call."""
        return METHODS[self.kind]

    def upstream_path(self, name: str, version: str | None) -> str:
        """Return the percent-encoded path, below the base of a server that calls it ``name``."""
        return _path(self.kind, name, version)


@dataclass(frozen=True, slots=True)
class PathCall(Call):
    """A call with a path of its own, instead of one of the open inference protocol."""

    path: str = ""

    def upstream_path(self, name: str, version: str | None) -> str:
        """Return its own path; name and version do not matter."""
        return self.path


def read_path(raw_path: bytes) -> tuple[Call, ...]:
    """Return the readings of a raw, encoded path, the likeliest first."""
    if len(raw_path) > REMEMBERED_BYTES:
        return _read(raw_path)
    return _remembered(raw_path)


def method_of(raw_path: bytes) -> str:
    """Return the method of a path as the protocol itself reads it."""
    return METHODS[ENDINGS.get(raw_path.rpartition(b"/")[2], "metadata")]


def _read(raw_path: bytes) -> tuple[Call, ...]:
    match raw_path.split(b"/"):
        case [b"", b"v2", b"models", *segments] if segments:
            return tuple(_readings(segments))
        case _:
            return ()


def _readings(segments: list[bytes]) -> Iterator[Call]:
    """Yield the readings, the longest known ending first: the id is then the shortest."""
    *beginning, last = segments
    kind = ENDINGS.get(last)
    for ending, before in ((kind, beginning), ("metadata", segments)):
        if ending is None:
            continue
        match before:
            case [_, *_, b"versions", last] if version := decode(last):
                if model_id := decode(b"/".join(before[:-2])):
                    yield Call(ending, model_id, version)
        if model_id := decode(b"/".join(before)):
            yield Call(ending, model_id)


_remembered = lru_cache(REMEMBERED)(_read)


@lru_cache(REMEMBERED)
def _path(kind: Kind, name: str, version: str | None) -> str:
    path = f"/v2/models/{encode(name)}"
    if version is not None:
        path += f"/versions/{encode(version)}"
    return path if kind == "metadata" else f"{path}/{kind}"


def encode(segment: str) -> str:
    """Return one segment of a path, encoded. Dots alone are, too: ``..`` would be a step up."""
    return quote(segment, safe="") if segment.strip(".") else "%2E" * len(segment)


def is_id(text: str) -> bool:
    """Return whether the text is a valid id of a model or an inference."""
    if not 1 <= len(text) <= limits.ID_MAX_CHARS or text in (".", ".."):
        return False
    return text.isprintable() or not any(_is_control(each) for each in text)


def _is_control(character: str) -> bool:
    return character < " " or "\x7f" <= character <= "\x9f"


def decode(segment: bytes) -> str | None:
    """Return the id that is written in one or several segments of a path; None if it is none."""
    try:
        text = unquote_to_bytes(segment).decode()
    except UnicodeDecodeError:
        return None
    return text if is_id(text) else None
