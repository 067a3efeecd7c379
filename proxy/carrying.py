"""Reading an upstream's answer: whole, to be kept, or piece by piece, to be passed on."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable
from dataclasses import dataclass, field

import aiohttp

from proxy import limits
from proxy.answers import Send
from proxy.headers import to_client
from proxy.receiving import Allowance

TOO_LARGE, BUSY = "too-large", "busy"

LENGTH = re.compile("[0-9]{1,19}", re.ASCII)
STREAMS = {
    "application/json-seq",
    "application/jsonl",
    "application/stream+json",
    "application/x-ndjson",
    "text/event-stream",
}
# Ordinary answers, which some servers send in chunks all the same.
ORDINARY = ("application/json", "application/octet-stream", "")


class BrokenOff(Exception):
    """The answer cannot be sent to its end; the client must see that it ends early."""


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer with its whole body, unless ``told`` says why no copy is kept."""

    status: int
    headers: list[tuple[bytes, bytes]]
    content_type: str
    encoding: str
    header_length: int | None
    told: str = ""
    chunks: list[bytes] = field(default_factory=list)

    @classmethod
    def beginning(
        cls, response: aiohttp.ClientResponse, told: str = "", *chunks: bytes
    ) -> Answered:
        length = response.headers.get("Inference-Header-Content-Length", "")
        encoding = response.headers.get("Content-Encoding", "").strip().lower()
        return cls(
            status=response.status,
            headers=to_client(response.raw_headers),
            content_type=response.headers.get("Content-Type", ""),
            encoding="" if encoding == "identity" else encoding,
            header_length=int(length) if LENGTH.fullmatch(length) else None,
            told=told,
            chunks=list(chunks),
        )

    @property
    def body(self) -> bytes:
        return self.chunks[0] if len(self.chunks) == 1 else b"".join(self.chunks)


def is_stream(response: aiohttp.ClientResponse) -> bool:
    """Whether the client wants each piece as it comes."""
    content_type = _media_type(response)
    if content_type in STREAMS:
        return True
    is_chunked = "chunked" in response.headers.get("Transfer-Encoding", "").lower()
    return is_chunked and content_type not in ORDINARY


async def read_answer(
    response: aiohttp.ClientResponse, allowance: Allowance
) -> Answered:
    """The answer, with as much of its body as may be held."""
    chunks, reason = await _gather(response, allowance)
    return Answered.beginning(response, not_recorded(reason), *chunks)


def not_recorded(reason: str) -> str:
    return f"not-recorded; reason={reason}" if reason else ""


async def pass_on(
    response: aiohttp.ClientResponse,
    send: Send,
    extra: Iterable[tuple[bytes, bytes]],
    patience: asyncio.Timeout,
    begun: Iterable[bytes] = (),
) -> None:
    """Send the answer on as it comes, after what was read of it already.

    It is read to its end even when the client is gone. As long as something comes it
    may take what it takes: only silence is too long.
    """
    headers = [*to_client(response.raw_headers), *extra]
    if response.content_length is not None:
        headers.append((b"content-length", b"%d" % response.content_length))
    await send(
        {"type": "http.response.start", "status": response.status, "headers": headers}
    )
    now = asyncio.get_running_loop().time
    size = 0
    for chunk in begun:
        size += len(chunk)
        await send({"type": "http.response.body", "body": chunk, "more_body": True})
    async for chunk in response.content.iter_any():
        size += len(chunk)
        if size > limits.PROXY_MAX_RESPONSE_BYTES:
            raise BrokenOff("The upstream's answer is too large.")
        if limits.UPSTREAM_TOTAL_SECONDS:
            patience.reschedule(now() + limits.UPSTREAM_TOTAL_SECONDS)
        await send({"type": "http.response.body", "body": chunk, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def _gather(
    response: aiohttp.ClientResponse, allowance: Allowance
) -> tuple[list[bytes], str]:
    most, expected = limits.CAPTURE_MAX_BYTES, response.content_length
    if expected is not None:
        if expected > most:
            return [], TOO_LARGE
        if not allowance.take(expected):
            return [], BUSY
        return [await response.read()], ""
    chunks: list[bytes] = []
    size = 0
    async for chunk in response.content.iter_any():
        chunks.append(chunk)
        size += len(chunk)
        if size > most:
            return chunks, TOO_LARGE
        if not allowance.take(len(chunk)):
            return chunks, BUSY
    return chunks, ""


def _media_type(response: aiohttp.ClientResponse) -> str:
    return response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
