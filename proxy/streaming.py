"""Streamed answers: each piece is passed on as it comes, and a copy is held.

When the stream has ended the copy goes to the spool as it came, and the capture process parses
it (``protocols.streams``). A client that disconnects ends the stream, so that the server does
not go on for nobody. What came until then is kept, marked as partial.

The header ``streaming`` is sent before anybody knows whether a copy will be kept. So the id in
that header is noted (``LostCopies``) until the copy is in the spool; if there is no copy, the
note gets the reason.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from proxy import counters, limits, timestamps
from proxy.answers import Send
from proxy.http.headers import to_client
from proxy.http.request_body import MemoryReservation, Reader
from proxy.http.timeouts import Timeout
from proxy.lost_copies import LostCopies
from proxy.response_reading import (
    BUSY,
    STATUS,
    TOO_LARGE,
    BrokenOff,
    ResponseHead,
    UpstreamResponse,
    not_recorded,
)
from proxy.spool.entries import BROKE_OFF

if TYPE_CHECKING:
    from proxy.exchange import Exchange
    from proxy.record_ids import RecordIds

WHOLE, LEFT = "", "The client left."
FIRST = asyncio.FIRST_COMPLETED
STREAMING = "streaming"
MARKS_MOST = 512  # pieces whose times are kept, to find that of the first token


class Keeper(Protocol):
    """What keeps copies and settles their ids: the proxy. ``keep`` is ``Proxy.keep``."""

    lost: LostCopies
    record_ids: RecordIds

    async def keep(self, exchange: Exchange, answered: UpstreamResponse) -> str: ...


class StreamResponse(ResponseHead, Protocol):
    """The head of an answer and its pieces, from a server or from a mock."""

    def pieces(self) -> AsyncIterator[bytes]: ...


class Streaming(Protocol):
    """A call to a server whose answer has begun, or a mock in its place."""

    @property
    def response(self) -> StreamResponse: ...

    @property
    def patience(self) -> Timeout: ...


@dataclass(slots=True)
class StreamCopy:
    """The bytes of a stream as they come, up to ``limit`` bytes.

    ``reason`` says why there is no copy; then no bytes are held.
    """

    allowance: MemoryReservation
    limit: int
    size: int = 0
    reason: str = ""
    chunks: list[bytes] = field(default_factory=list)
    # (bytes received so far, microseconds since 1970) after each of the first pieces
    marks: list[tuple[int, int]] = field(default_factory=list)

    def take(self, piece: bytes) -> None:
        """Hold one more piece, or give up the copy if it is too large or no memory is left."""
        self.size += len(piece)
        if self.reason:
            return
        if self.size > self.limit:
            self._give_up(TOO_LARGE)
        elif not self.allowance.take(len(piece)):
            self._give_up(BUSY)
        else:
            self.chunks.append(piece)
            if len(self.marks) < MARKS_MOST:
                self.marks.append((self.size, timestamps.now()))

    def _give_up(self, reason: str) -> None:
        self.reason = reason
        self.chunks.clear()
        self.marks.clear()

    def facts(self, end: str, forwarded_at: int) -> dict[str, Any]:
        """Return what the spool keeps beside the bytes; times count from ``forwarded_at``."""
        marks = [(size, moment - forwarded_at) for size, moment in self.marks]
        return {"end": end, "marks": marks}


async def carry_stream(
    exchange: Exchange,
    upstream: Streaming,
    keeper: Keeper,
    allowance: MemoryReservation,
    reader: Reader,
    send: Send,
) -> None:
    """Pass the stream on to the client; ``keeper`` keeps the copy if it is to be stored."""
    response = upstream.response
    disposition = _disposition(exchange, response)
    if disposition == STREAMING:
        # The header names the record, so its id is settled before the answer is known.
        reason = await keeper.record_ids.settle_stream(exchange)
        disposition = not_recorded(reason) or STREAMING
    copy = None
    if disposition == STREAMING:
        copy = StreamCopy(allowance, limits.CAPTURE_MAX_BYTES)
        keeper.lost.expect(exchange)
    headers = [*to_client(response.headers), *exchange.headers(disposition)]
    end = BROKE_OFF
    try:
        await send(
            {
                "type": "http.response.start",
                "status": response.status,
                "headers": headers,
            }
        )
        counters.tell(response.status, disposition)
        end = await _pass_pieces(upstream, copy, reader, send)
    finally:
        exchange.responded_at = timestamps.now()
        if copy is not None:
            await _keep_copy(exchange, response, copy, end, keeper)
        exchange.tell_durations(response.status)
    if end != LEFT:
        await send({"type": "http.response.body", "body": b""})


def _disposition(exchange: Exchange, response: StreamResponse) -> str:
    """Return the value of the ``Inference-Store`` header as far as it is known at the start.

    Most reasons against a copy are known by then.
    """
    if not exchange.target.is_stored:
        return "off"
    if not 200 <= response.status < 300:
        return not_recorded(STATUS)
    if len(exchange.request.body) > limits.CAPTURE_MAX_BYTES:
        return not_recorded(TOO_LARGE)
    return STREAMING


async def _pass_pieces(
    upstream: Streaming, copy: StreamCopy | None, reader: Reader, send: Send
) -> str:
    """Pass pieces on until the stream ends or the client leaves, and return which it was.

    Raises what a server that breaks off or stays silent raises.
    """
    pieces = upstream.response.pieces()
    left: asyncio.Future[Any] = asyncio.ensure_future(reader.until_gone())
    coming = left  # until the first piece is waited for
    size = 0
    try:
        while True:
            coming = asyncio.ensure_future(anext(pieces, None))
            await asyncio.wait((coming, left), return_when=FIRST)
            if left.done():
                return LEFT
            piece: bytes | None = coming.result()
            if piece is None:
                return WHOLE
            size += len(piece)
            if size > limits.PROXY_MAX_RESPONSE_BYTES:
                raise BrokenOff("The upstream's answer is too large.")
            upstream.patience.reset()
            if copy is not None:
                copy.take(piece)
            await send({"type": "http.response.body", "body": piece, "more_body": True})
    finally:
        for each in (coming, left):
            each.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await each


async def _keep_copy(
    exchange: Exchange,
    response: StreamResponse,
    copy: StreamCopy,
    end: str,
    keeper: Keeper,
) -> None:
    reason = copy.reason
    if reason:
        keeper.record_ids.give_back(exchange)
    else:
        exchange.stream = copy.facts(end, exchange.forwarded_at)
        answered = UpstreamResponse.beginning(response, "", *copy.chunks)
        reason = await keeper.keep(exchange, answered)
    counters.tell_kept(reason)
    keeper.lost.settle(exchange, reason)
