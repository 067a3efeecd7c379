"""Which call a path of the open inference protocol is."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal
from urllib.parse import quote, unquote_to_bytes

from proxy import limits

Kind = Literal["metadata", "ready", "infer"]
REMEMBERED, REMEMBERED_BYTES = 1024, 512
METHODS: dict[Kind, str] = {"metadata": "GET", "ready": "GET", "infer": "POST"}


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


def read_path(raw_path: bytes) -> Call | None:
    """The call of a path as it came, not decoded; None if it is not one."""
    if len(raw_path) > REMEMBERED_BYTES:
        return _read(raw_path)
    return _remembered(raw_path)


def _read(raw_path: bytes) -> Call | None:
    match raw_path.split(b"/"):
        case [b"", b"v2", b"models", model, *rest]:
            model_id = _decoded(model)
        case _:
            return None
    version: str | None = None
    if rest[:1] == [b"versions"]:
        if len(rest) < 2 or (version := _decoded(rest[1])) is None:
            return None
        rest = rest[2:]
    if model_id is None or rest not in ([], [b"ready"], [b"infer"]):
        return None
    kind: Kind = rest[0].decode() if rest else "metadata"  # type: ignore[assignment]
    return Call(kind, model_id, version)


_remembered = lru_cache(REMEMBERED)(_read)


@lru_cache(REMEMBERED)
def _path(kind: Kind, name: str, version: str | None) -> str:
    path = f"/v2/models/{encoded(name)}"
    if version is not None:
        path += f"/versions/{encoded(version)}"
    return path if kind == "metadata" else f"{path}/{kind}"


def encoded(segment: str) -> str:
    """One segment of a path; dots alone would be read as steps in it."""
    return quote(segment, safe="") if segment.strip(".") else "%2E" * len(segment)


def is_id(text: str) -> bool:
    """Whether it can be an id of the outside world."""
    if not 1 <= len(text) <= limits.ID_MAX_CHARS or text in (".", ".."):
        return False
    return text.isprintable() or not any(_is_control(each) for each in text)


def _is_control(character: str) -> bool:
    return character < " " or "\x7f" <= character <= "\x9f"


def _decoded(segment: bytes) -> str | None:
    try:
        text = unquote_to_bytes(segment).decode()
    except UnicodeDecodeError:
        return None
    return text if is_id(text) else None
