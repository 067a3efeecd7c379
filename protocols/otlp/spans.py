"""Spans as values, whichever encoding brought them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

TRACE_ID_BYTES, SPAN_ID_BYTES = 16, 8


class Unreadable(ValueError):
    """A request, or a span, that cannot be read. The message says why."""


class TooMuch(Unreadable):
    """A request that would cost too much to read."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened at one moment of a span."""

    name: str
    at: int  # nanoseconds since 1970
    attributes: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Span:
    """One span, with the resource and the scope that it came from.

    Times are nanoseconds since 1970. ``digest`` is the SHA-256 of the span as it came, by which
    the same span is recognised when it is sent again; ``size`` is how many bytes that were.
    """

    trace_id: bytes
    span_id: bytes
    parent_id: bytes
    name: str
    start: int
    end: int
    attributes: Mapping[str, Any]
    digest: bytes
    events: tuple[Event, ...] = ()
    is_error: bool = False
    message: str = ""
    links: tuple[str, ...] = ()
    resource: Mapping[str, Any] = field(default_factory=dict)
    scope: str = ""
    size: int = 0

    def __post_init__(self) -> None:
        for name, given, size in (
            ("trace_id", self.trace_id, TRACE_ID_BYTES),
            ("span_id", self.span_id, SPAN_ID_BYTES),
        ):
            if len(given) != size or not any(given):
                raise Unreadable(f"The {name} {given.hex()[:40]!r} is not valid.")
        if len(self.parent_id) not in (0, SPAN_ID_BYTES):
            raise Unreadable(f"The parent of span {self.span_id.hex()} is not valid.")
        if not self.start:
            raise Unreadable(f"The span {self.span_id.hex()} has no start time.")


@dataclass(slots=True)
class Spans:
    """The spans of a request, and the reasons why others in it were refused."""

    read: list[Span] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)

    @property
    def count(self) -> int:
        """The number of spans that were looked at."""
        return len(self.read) + len(self.refused)
