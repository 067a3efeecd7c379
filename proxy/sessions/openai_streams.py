"""Mocks that stream, in the place of model servers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

from proxy.http.timeouts import Timeout
from services.runners.mocks import Stream

EVENTS = b"text/event-stream"


@dataclass(frozen=True, slots=True)
class SimulatedResponse:
    """The stream of a mock, with the interface of a server's response."""

    stream: Stream
    status = 200
    headers = [(b"content-type", EVENTS), (b"cache-control", b"no-cache")]

    def header(self, name: bytes) -> bytes:
        """Return the value of a header; empty if there is none."""
        return dict(self.headers).get(name, b"")

    def pieces(self) -> AsyncIterator[bytes]:
        """Yield the events of the stream."""
        return self.stream.pieces()


@dataclass(frozen=True, slots=True)
class Simulating:
    """A call to a mock that streams, with the interface of a call to a server."""

    response: SimulatedResponse
    patience: Timeout

    @classmethod
    def of(cls, stream: Stream) -> Simulating:
        """Return the call for this stream, without a timeout."""
        return cls(SimulatedResponse(stream), Timeout(None))
