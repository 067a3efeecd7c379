"""Mocks that stream, in the place of servers that were asked."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

from proxy.http.timeouts import Timeout
from services.runners.mocks import Stream

EVENTS = b"text/event-stream"


@dataclass(frozen=True, slots=True)
class SimulatedResponse:
    """The stream of a mock, in the place of a server's answer."""

    stream: Stream
    status = 200
    headers = [(b"content-type", EVENTS), (b"cache-control", b"no-cache")]

    def header(self, name: bytes) -> bytes:
        return dict(self.headers).get(name, b"")

    def pieces(self) -> AsyncIterator[bytes]:
        return self.stream.pieces()


@dataclass(frozen=True, slots=True)
class Simulating:
    """A mock that streams, in the place of a server that was asked."""

    response: SimulatedResponse
    patience: Timeout

    @classmethod
    def of(cls, stream: Stream) -> Simulating:
        return cls(SimulatedResponse(stream), Timeout(None))
