"""An HTTP/1.1 client for model servers: one request at a time on a persistent connection.

The parser is llhttp in its strictest mode. A response that it rejects, data that come unasked,
and a body that is left unread end the connection. Only the framing is decoded: the bytes of a
body are passed on as they came.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from typing import cast

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from proxy.http.timeouts import Timeout

HEAD_BYTES = 64 * 2**10  # of a response head, at most
HELD_BYTES = 256 * 2**10  # of a body that nobody has read; above it, reading pauses
WRITTEN_AT_ONCE = 256 * 2**10  # of a request; larger bodies look for an early answer
VERSIONS = ("1.1", "1.0")

Header = tuple[bytes, bytes]


class BrokeOff(ConnectionError):
    """The server closed the connection before its answer was whole."""


class NotHttp(ConnectionError):
    """What came is not a valid HTTP response."""


class Response:
    """The head of a response, and how to read its body."""

    def __init__(self, connection: Connection, status: int) -> None:
        self.status = status
        self.headers: list[Header] = []  # names in lower case
        self._first: dict[bytes, bytes] = {}  # the first value of each name
        self._connection = connection
        self._length: int | None = None
        self.is_chunked = False

    def header(self, name: bytes) -> bytes:
        """Return the first value of that name; empty if there is none."""
        return self._first.get(name, b"")

    @property
    def length(self) -> int | None:
        """The body's Content-Length in bytes; None if it has none."""
        return self._length

    @property
    def is_whole(self) -> bool:
        """Whether the whole body has come."""
        return self._connection.is_whole

    async def read(self, patience: Timeout) -> bytes:
        """Return the whole body, however long it is. Any data that come reset the timeout."""
        return await self._connection.read_whole(patience)

    def pieces(self) -> AsyncIterator[bytes]:
        """Yield the body as it comes."""
        return self._connection.read_pieces()

    def note_head(self) -> None:
        """Check the head, once all headers are there. Raises ``NotHttp``."""
        self._first = dict(reversed(self.headers))
        if length := self.header(b"content-length"):
            if not length.isdigit() or len(length) > 19:
                raise NotHttp("invalid Content-Length")
            self._length = int(length)
        encodings = {
            value.lower()
            for name, value in self.headers
            if name == b"transfer-encoding"
        }
        if len(encodings) > 1 or not encodings <= {b"identity", b"chunked"}:
            raise NotHttp("a transfer encoding that was not asked for")
        self.is_chunked = encodings == {b"chunked"}


class Connection(asyncio.Protocol):
    """One connection. Calls of ``ask`` follow each other; each answer is read before the next."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport  # from ``connection_made`` on
        self._parser = HttpResponseParser(self)
        self._waiter: asyncio.Future[None] | None = None
        self._error: Exception | None = None
        self._is_asked = False
        self._may_be_kept = False
        self._is_paused = self._is_full = False
        self._takes_all = False
        # The timeout of a ``read_whole`` that is under way.
        self._patience: Timeout | None = None
        self._response: Response | None = None  # once its head is whole
        self._coming: Response  # from ``on_message_begin`` on
        self._pieces: list[bytes] = []
        self._held = 0
        self._head_bytes = 0
        self.is_whole = False
        self.was_used = False
        self.heard = False
        self.idle_since = 0.0

    # -- called by users of the connection

    @property
    def can_be_used(self) -> bool:
        """Whether the connection is open."""
        return self._error is None and not self._transport.is_closing()

    async def ask(self, head: bytes, body: bytes = b"") -> Response:
        """Send a request, and return the response as soon as its head is there."""
        self._is_asked, self.is_whole, self.heard = True, False, False
        self._response, self._head_bytes, self._takes_all = None, 0, False
        self._patience = None
        if len(body) <= WRITTEN_AT_ONCE:
            self._transport.write(head + body)
        elif not await self._write(head, body):
            self._may_be_kept = False  # the server answered before it had read the body
        while self._response is None:
            await self._progress()
        return self._response

    def release(self) -> bool:
        """Return whether the connection can be used again; close it if not."""
        if self.is_whole and self._may_be_kept and self.can_be_used:
            self._is_asked, self.was_used = False, True
            self._pieces, self._held = [], 0
            self.idle_since = time.monotonic()
            return True
        self.close()
        return False

    def close(self) -> None:
        """Close the connection at once."""
        self._transport.abort()

    async def read_whole(self, patience: Timeout) -> bytes:
        """Return the whole body. Raises ``BrokeOff`` or ``NotHttp``."""
        patience.reset()
        self._takes_all, self._patience = True, patience
        self._let_come()
        while not self.is_whole:
            await self._progress()
        pieces = self._pieces
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def read_pieces(self) -> AsyncIterator[bytes]:
        """Yield the body as it comes. While nobody takes pieces, reading pauses (backpressure)."""
        while True:
            pieces, self._pieces, self._held = self._pieces, [], 0
            self._let_come()
            for piece in pieces:
                yield piece
            if not self._pieces:
                if self.is_whole:
                    return
                await self._progress()

    async def _write(self, head: bytes, body: bytes) -> bool:
        """Write the request; return False if an answer came before all of it was written."""
        self._transport.write(head)
        view = memoryview(body)
        for start in range(0, len(body), WRITTEN_AT_ONCE):
            self._transport.write(view[start : start + WRITTEN_AT_ONCE])
            while self._is_full:
                if self._response is not None:
                    return False
                await self._progress()
        return True

    async def _progress(self) -> None:
        """Wait until something has happened. Raises what ended the connection."""
        if self._error is not None:
            raise self._error
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _let_come(self) -> None:
        if self._is_paused:
            self._is_paused = False
            self._transport.resume_reading()

    # -- called by the loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        # A cast, because the transports of uvloop are no subclasses.
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Parse what came, and wake the reader; pause reading while too much is held."""
        if not self._is_asked or self.is_whole:
            self._fail(NotHttp("unexpected data on idle connection"))
            return
        self.heard = True
        if self._patience is not None:
            self._patience.reset()
        if self._response is None:
            self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except HttpParserUpgrade:
            self._fail(NotHttp("another protocol"))
        except HttpParserError as error:
            # If one of our callbacks raised, its exception is the context of this one.
            self._fail(NotHttp(str(error.__context__ or error)))
        else:
            if self._response is None and self._head_bytes > HEAD_BYTES:
                self._fail(NotHttp("response head exceeds 64 KiB"))
            elif self._response is not None and (self.is_whole or not self._takes_all):
                self._wake()
        if self._held > HELD_BYTES and not (
            self._takes_all or self._is_paused or self.is_whole
        ):
            self._is_paused = True
            self._transport.pause_reading()

    def connection_lost(self, error: Exception | None) -> None:
        """Fail what waits. An end without an error completes a body without length or chunks."""
        is_end = (
            error is None
            and self._response is not None
            and self._response.length is None
            and not self._response.is_chunked
        )
        if is_end and self._is_asked:
            self.is_whole = True
        self._fail(BrokeOff())

    def pause_writing(self) -> None:
        """Note that the send buffer is full: ``_write`` waits (backpressure)."""
        self._is_full = True

    def resume_writing(self) -> None:
        """Wake ``_write``: the send buffer has room again."""
        self._is_full = False
        self._wake()

    def _fail(self, error: Exception) -> None:
        if self._error is None:
            self._error = error
        self._wake()
        self.close()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # -- called by the parser

    def on_message_begin(self) -> None:
        """Begin a response. Raises ``NotHttp`` for one that was not asked for."""
        if self.is_whole:
            raise NotHttp("a second answer")
        self._coming = Response(self, 0)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header of the response."""
        if self._response is None:  # otherwise it is a trailer, which is dropped
            self._coming.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """Make the response available, unless it is an interim one. Raises ``NotHttp``."""
        coming, parser = self._coming, self._parser
        coming.status = parser.get_status_code()
        if 100 <= coming.status < 200:  # an interim response; the final one follows
            return
        if parser.get_http_version() not in VERSIONS or coming.status < 200:
            raise NotHttp("unsupported HTTP version")
        coming.note_head()
        self._may_be_kept = parser.should_keep_alive()
        self._response = coming

    def on_body(self, piece: bytes) -> None:
        """Hold a piece of the body."""
        self._pieces.append(piece)
        self._held += len(piece)

    def on_message_complete(self) -> None:
        """Note that the body is whole."""
        if self._response is not None:
            self.is_whole = True


def written_head(method: str, path: str, host: str, headers: Sequence[bytes]) -> bytes:
    """Return a request up to its body. ``headers`` are lines, each with its CRLF."""
    first = f"{method} {path} HTTP/1.1\r\nHost: {host}\r\n".encode("latin-1")
    return b"".join((first, *headers, b"\r\n"))
