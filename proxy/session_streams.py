"""Streams of OpenAI's protocol: each piece leaves as it comes, and is copied.

The copy is put together as the answer that would have come without streaming, and kept
when the stream has ended, before the client sees its end. A client that leaves ends the
stream: the server is not made to go on for nobody, and what came until then is kept, and
says that it is a part.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import orjson

from proxy import counters, limits, moments
from proxy.answers import Send
from proxy.carrying import Answered, BrokenOff
from proxy.completions import Assembly, facts_of
from proxy.connections import Response
from proxy.forwarding import Asking
from proxy.headers import CONTENT_ENCODING, to_client
from proxy.patience import Patience
from proxy.receiving import Allowance, Reader
from services.runners.mocks import Stream

if TYPE_CHECKING:
    from proxy.session_calls import SessionExchange

EVENTS = b"text/event-stream"
JSON = "application/json"
WHOLE, LEFT, BROKE_OFF = "", "The client left.", "The stream broke off."
FIRST = asyncio.FIRST_COMPLETED

Keep = Callable[["SessionExchange", Answered], Awaitable[str]]


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
    patience: Patience

    @classmethod
    def of(cls, stream: Stream) -> Simulating:
        return cls(SimulatedResponse(stream), Patience(None))


async def carry_stream(
    exchange: SessionExchange,
    asking: Asking | Simulating,
    keep: Keep | None,
    allowance: Allowance,
    reader: Reader,
    send: Send,
) -> None:
    """Pass the stream on; ``keep`` is what keeps a copy, None when none is wanted."""
    response = asking.response
    copy = Assembly(limits.CAPTURE_MAX_BYTES) if keep and _can_copy(response) else None
    told = "streaming" if exchange.target.is_stored else "off"
    headers = [*to_client(response.headers), *exchange.headers(told)]
    await send(
        {"type": "http.response.start", "status": response.status, "headers": headers}
    )
    counters.tell(response.status, told)
    end = BROKE_OFF
    try:
        end = await _pass_pieces(asking, copy, allowance, reader, send)
    finally:
        exchange.responded_at = moments.now()
        if copy is not None and keep is not None:
            await _keep_copy(exchange, copy, end, keep)
    if end != LEFT:
        await send({"type": "http.response.body", "body": b""})


async def _pass_pieces(
    asking: Asking | Simulating,
    copy: Assembly | None,
    allowance: Allowance,
    reader: Reader,
    send: Send,
) -> str:
    """Until one of the two ends. What a server breaks off raises, as silence does."""
    pieces = asking.response.pieces()
    left = asyncio.ensure_future(reader.until_gone())
    coming: asyncio.Future[bytes | None] = left  # type: ignore[assignment]
    size = 0
    try:
        while True:
            coming = asyncio.ensure_future(anext(pieces, None))  # type: ignore[arg-type]
            await asyncio.wait((coming, left), return_when=FIRST)
            if left.done():
                return LEFT
            piece = coming.result()
            if piece is None:
                return WHOLE
            size += len(piece)
            if size > limits.PROXY_MAX_RESPONSE_BYTES:
                raise BrokenOff("The upstream's answer is too large.")
            asking.patience.again()
            if copy is not None:
                copy.take(piece if allowance.take(len(piece)) else None)
            await send({"type": "http.response.body", "body": piece, "more_body": True})
    finally:
        for each in (coming, left):
            each.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await each


async def _keep_copy(
    exchange: SessionExchange, copy: Assembly, end: str, keep: Keep
) -> None:
    if copy.is_too_large:
        counters.counts.not_recorded["too-large"] += 1
        return
    answer = copy.answer()
    exchange.facts |= facts_of(answer)
    exchange.facts["stream"] = "partial" if end else "complete"
    if copy.first_token_at is not None:
        waited = copy.first_token_at - exchange.forwarded_at
        exchange.facts["time_to_first_token"] = waited / moments.SECOND
    if end:
        exchange.warnings.append(f"{end} The answer is what came until then.")
    elif not copy.is_done:
        exchange.warnings.append("The stream ended without [DONE].")
    if copy.misread:
        exchange.warnings.append(f"{copy.misread} events were not understood.")
    body = orjson.dumps(answer)
    answered = Answered(200, [], JSON, "", None, chunks=[body])
    counters.tell_kept(await keep(exchange, answered))


def _can_copy(response: Response | SimulatedResponse) -> bool:
    content_type = response.header(b"content-type").partition(b";")[0].strip().lower()
    is_plain = response.header(CONTENT_ENCODING) in (b"", b"identity")
    return content_type == EVENTS and is_plain and 200 <= response.status < 300
