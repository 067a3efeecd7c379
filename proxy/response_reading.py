"""Read an upstream's answer: whole, to keep a copy, or piece by piece, to pass it on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol

from protocols.streams.framing import FRAMINGS
from proxy import limits
from proxy.answers import Send
from proxy.http.headers import CONTENT_ENCODING, HEADER_LENGTH, read_encoding, to_client
from proxy.http.http1_client import Response
from proxy.http.request_body import MemoryReservation
from proxy.http.timeouts import Timeout
from proxy.http.upstream_pool import too_large

TOO_LARGE, BUSY, STATUS = "too-large", "busy", "upstream-status"

# Content types of ordinary answers. Some servers send these in chunks as well, so chunks
# alone do not make a stream.
ORDINARY = ("application/json", "application/octet-stream", "")


class ResponseHead(Protocol):
    """The head of an answer, from a server or from a mock."""

    @property
    def status(self) -> int: ...

    @property
    def headers(self) -> list[tuple[bytes, bytes]]: ...

    def header(self, name: bytes) -> bytes: ...


class BrokenOff(Exception):
    """The answer cannot be sent to its end, and the client must see that it ends early."""


@dataclass(slots=True)
class UpstreamResponse:
    """An upstream's answer with its whole body, unless ``disposition`` says why no copy is kept.

    ``disposition`` is a value of the ``Inference-Store`` header.
    """

    status: int
    headers: list[tuple[bytes, bytes]]
    content_type: str
    encoding: str
    header_length: int | None
    disposition: str = ""
    chunks: list[bytes] = field(default_factory=list)

    @classmethod
    def beginning(
        cls, response: ResponseHead, disposition: str = "", *chunks: bytes
    ) -> UpstreamResponse:
        """Return an answer with the head of the response, and with the chunks read so far."""
        length = response.header(HEADER_LENGTH)
        return cls(
            status=response.status,
            headers=to_client(response.headers),
            content_type=response.header(b"content-type").decode("latin-1"),
            encoding=read_encoding(response.header(CONTENT_ENCODING)),
            header_length=_number(length),
            disposition=disposition,
            chunks=list(chunks),
        )

    @property
    def body(self) -> bytes:
        """The chunks as one bytes object."""
        return self.chunks[0] if len(self.chunks) == 1 else b"".join(self.chunks)


def is_stream(response: Response) -> bool:
    """Return whether the answer is a stream, of which the client wants each piece as it comes.

    That is a content type with a known framing, or a chunked response of another content type
    than the ordinary ones.
    """
    content_type = _media_type(response)
    if content_type in FRAMINGS:
        return True
    return response.is_chunked and content_type not in ORDINARY


async def read_answer(
    response: Response, allowance: MemoryReservation, patience: Timeout
) -> UpstreamResponse:
    """Return the answer, with as much of its body as may be held.

    The timeout is that of an answer that is passed on: whether a copy is kept must not decide
    whether a slow answer arrives.
    """
    chunks, reason = await _gather(response, allowance, patience)
    return UpstreamResponse.beginning(response, not_recorded(reason), *chunks)


def not_recorded(reason: str) -> str:
    """Return the header value that gives this reason for a missing copy; "" for no reason."""
    return f"not-recorded; reason={reason}" if reason else ""


async def pass_on(
    response: Response,
    send: Send,
    extra: Iterable[tuple[bytes, bytes]],
    patience: Timeout,
    begun: Iterable[bytes] = (),
) -> None:
    """Send the rest of the answer to the client as it comes, after the chunks in ``begun``.

    It is read to its end even when the client is gone. Each piece resets the timeout, so only
    silence is too long. Raises ``BrokenOff`` when the answer becomes too large.
    """
    headers = [*to_client(response.headers), *extra]
    if response.length is not None:
        headers.append((b"content-length", b"%d" % response.length))
    await send(
        {"type": "http.response.start", "status": response.status, "headers": headers}
    )
    size = 0
    for chunk in begun:
        size += len(chunk)
        await send({"type": "http.response.body", "body": chunk, "more_body": True})
    async for chunk in response.pieces():
        size += len(chunk)
        if size > limits.PROXY_MAX_RESPONSE_BYTES:
            raise BrokenOff("The upstream's answer is too large.")
        patience.reset()
        await send({"type": "http.response.body", "body": chunk, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def _gather(
    response: Response, allowance: MemoryReservation, patience: Timeout
) -> tuple[list[bytes], str]:
    most, expected = limits.CAPTURE_MAX_BYTES, response.length
    if expected is not None:
        if expected > most:
            return [], TOO_LARGE
        if not allowance.take(expected):
            return [], BUSY
        return [await response.read(patience)], ""
    chunks: list[bytes] = []
    size = 0
    async for chunk in response.pieces():
        patience.reset()
        chunks.append(chunk)
        size += len(chunk)
        # Nothing has been sent yet, so an error status is possible.
        if size > limits.PROXY_MAX_RESPONSE_BYTES:
            raise too_large()
        if size > most:
            return chunks, TOO_LARGE
        if not allowance.take(len(chunk)):
            return chunks, BUSY
    return chunks, ""


def _media_type(response: Response) -> str:
    content_type = response.header(b"content-type").partition(b";")[0]
    return content_type.strip().lower().decode("latin-1")


def _number(text: bytes) -> int | None:
    return int(text) if text.isdigit() and len(text) <= 19 else None
