"""An HTTP/1.1 server for one ASGI application.

Each connection is an asyncio protocol in front of llhttp in its strictest mode. Requests of one
connection are answered one after the other, in the order in which they came. Whatever two
readers could take for different requests is refused, and ends the connection: a length beside
chunks, an unknown transfer encoding, a bare line feed, a missing host. An ``Upgrade`` is not
followed: the request is answered as HTTP/1.1, and refused if it has a body.

A client that leaves does not cancel its call: ``receive`` says ``http.disconnect``, and what is
sent goes nowhere. One that closed its sending side alone still gets its answer.

Above ``connections_limit()`` each new connection closes the one that waits longest for a request.
Connections whose requests are being answered are never closed for another.
"""

from __future__ import annotations

import asyncio
import logging
import resource
import socket
import time
from collections import deque
from collections.abc import Awaitable, Callable, MutableMapping
from email.utils import formatdate
from functools import cache
from http import HTTPStatus
from typing import Any, cast

import orjson
from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

from istore.sockets import BACKLOG
from proxy.answers import Receive, Scope, Send

HEAD_BYTES = 64 * 2**10  # of a request's head; one that is not whole is read once more
HEADERS_MOST = 100
HELD_BYTES = 256 * 2**10  # of bodies that nobody has read; above it, reading pauses
CONNECTIONS_MOST = 10_000  # of one process, if some of them wait for a request
PIPELINED_MOST = 16  # requests that wait for answers; above it, reading pauses
HEAD_SECONDS = 30.0  # from the first byte of a head to its last
IDLE_SECONDS = 75.0  # between two requests
SEND_SECONDS = 60.0  # without a byte that the client takes of an answer
LINGER_SECONDS = 2.0  # for a client to read why its broken request was refused
TICK_SECONDS = 1.0  # between two looks at these times
VERSIONS = ("1.1", "1.0")
NO_CONTENT = (204, 304)
TRANSFER_ENCODING = b"transfer-encoding"

Application = Callable[[Scope, Receive, Send], Awaitable[None]]

log = logging.getLogger(__name__)


class Malformed(Exception):
    """A request that is refused before the application sees it."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Request:
    """One request: what came of it, and how far it is answered."""

    __slots__ = (
        "_awaits_continue",
        "_connection",
        "_has_begun",
        "_is_bare",
        "_is_chunked",
        "_is_read",
        "_left",
        "_start",
        "_waiter",
        "has_ended",
        "is_answered",
        "is_old",
        "is_whole",
        "may_keep",
        "pieces",
        "scope",
    )

    def __init__(
        self, connection: ServerConnection, scope: Scope, *, awaits_continue: bool
    ) -> None:
        self._connection = connection
        self.scope = scope
        self._awaits_continue = awaits_continue
        self.pieces: list[bytes] = []
        self.is_whole = self._is_read = False
        self.has_ended = False  # nothing more will come of it
        self.may_keep = True  # the connection, after the answer
        self.is_old = False  # HTTP/1.0, which knows no chunks
        self.is_answered = self._is_chunked = False
        self._is_bare = False  # the answer is a head alone
        self._has_begun = False  # the head of the answer was sent
        self._left: int | None = None  # bytes of a body whose length was announced
        self._start: MutableMapping[str, Any] | None = None
        self._waiter: asyncio.Future[None] | None = None

    async def receive(self) -> MutableMapping[str, Any]:
        """Return the next part of the body; then wait until the client leaves."""
        if self._awaits_continue and not (self.pieces or self.is_whole):
            self._awaits_continue = False
            self._connection.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        while self._is_read or not (self.pieces or self.is_whole):
            if self.has_ended:
                return {"type": "http.disconnect"}
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        pieces, self.pieces = self.pieces, []
        self._is_read = self.is_whole
        body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        self._connection.note_taken(len(body))
        return {"type": "http.request", "body": body, "more_body": not self._is_read}

    async def send(self, message: MutableMapping[str, Any]) -> None:
        """Send a part of the answer. The head leaves together with the first part of the body."""
        if message["type"] == "http.response.start":
            self._start = message
            return
        body: bytes = message.get("body", b"")
        more = message.get("more_body", False)
        head = b""
        if self._start is not None:
            head = self._head(self._start, body, more)
            self._start, self._has_begun = None, True
        self.is_answered = not more
        if self._left is not None:
            self._left -= len(body)
            # An announced length that is not kept to must show: the connection ends.
            self.may_keep &= self._left == 0 if not more else self._left >= 0
        if self._is_bare:
            body = b""
        elif self._is_chunked:
            body = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
            body += b"" if more else b"0\r\n\r\n"
        if head or body:
            self._connection.write_all(head, body)
            if self._connection.is_full:
                await self._connection.drain()

    async def fail(self) -> None:
        """Answer 500 if nothing of an answer was sent; the connection ends with it."""
        if not self._has_begun:
            self.may_keep, self._left = False, None
            headers = [(b"content-type", b"application/json")]
            await self.send(
                {"type": "http.response.start", "status": 500, "headers": headers}
            )
            body = orjson.dumps({"error": "The proxy failed. Its log says why."})
            await self.send({"type": "http.response.body", "body": body})

    def _head(self, start: MutableMapping[str, Any], body: bytes, more: bool) -> bytes:
        status: int = start["status"]
        lines = [status_line(status)]
        is_empty = status in NO_CONTENT
        self._is_bare = is_empty or self.scope["method"] == "HEAD"
        for name, value in start["headers"]:
            if name == b"content-length":
                if status == HTTPStatus.NO_CONTENT:
                    continue
                self._left = None if is_empty else int(value)
                is_empty = True  # of a length that we would have to add
            lines.append(b"%b: %b\r\n" % (name, value))
        if not is_empty:
            if not more:
                lines.append(b"content-length: %d\r\n" % len(body))
            elif self.is_old:
                self.may_keep = False
            else:
                self._is_chunked = True
                lines.append(b"transfer-encoding: chunked\r\n")
        self.may_keep &= self.is_whole and self._connection.may_be_kept
        if not self.may_keep:
            lines.append(b"connection: close\r\n")
        elif self.is_old:
            lines.append(b"connection: keep-alive\r\n")
        lines.append(date_line())
        lines.append(b"\r\n")
        return b"".join(lines)

    def end(self) -> None:
        """Note that nothing more comes from the client."""
        self.has_ended = True
        self.wake()

    def wake(self) -> None:
        """Wake ``receive``."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class ServerConnection(asyncio.Protocol):
    """One connection of a client."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport  # from ``connection_made`` on
        self._parser = HttpRequestParser(self)
        self._client: tuple[str, int] | None = None
        self._requests: deque[Request] = deque()  # the first one is being answered
        self._task: asyncio.Task[None] | None = None
        self._coming: Request | None = None  # its body has not come to its end
        self._target = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._head_bytes = self._header_count = self._held = 0
        self._is_in_head = self._is_paused = False
        self.is_full = False  # of what the client has not taken
        self._is_deaf = False  # whatever comes now is not read as HTTP
        self._malformed: Malformed | None = None  # answered when its turn comes
        self._drained: asyncio.Future[None] | None = None
        self._is_lost = self._has_ended = False
        self._until: float | None = None  # when it is closed, by the clock of the loop
        self._unsent = 0  # bytes, when that was last looked at

    # -- called by requests

    @property
    def may_be_kept(self) -> bool:
        """Whether further requests may come."""
        is_read = not self._is_deaf or self._malformed is not None
        return is_read and not self._server.is_stopping

    def write(self, data: bytes) -> None:
        """Write to the client, if it is still there."""
        if not self._is_lost:
            self._transport.write(data)

    def write_all(self, head: bytes, body: bytes) -> None:
        """Write both, if the client is still there."""
        if self._is_lost:
            return
        if head and body and len(body) < HELD_BYTES:
            self._transport.write(head + body)
        else:
            for part in (head, body):
                if part:
                    self._transport.write(part)

    async def drain(self) -> None:
        """Wait while the client takes nothing (backpressure)."""
        while self.is_full and not self._is_lost:
            if self._drained is None:
                self._drained = self._loop.create_future()
            await asyncio.shield(self._drained)

    def note_taken(self, count: int) -> None:
        """Note that so many bytes of a body were read."""
        self._held -= count
        self._let_come()

    # -- called by the server

    def end_if_late(self, now: float) -> None:
        """Close the connection if its time is over. An answer that is being taken gives it more."""
        if self._until is None or now < self._until:
            return
        unsent = self._transport.get_write_buffer_size()
        if unsent and unsent != self._unsent:
            self._unsent, self._until = unsent, now + SEND_SECONDS
        else:
            self._transport.abort()

    def stop(self) -> None:
        """Close the connection as soon as no request is being answered."""
        if self._task is None:
            self._transport.close()

    def abort(self) -> None:
        """Close the connection at once."""
        self._transport.abort()

    # -- called by the loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport, and wait for a request."""
        self._transport = cast(asyncio.Transport, transport)
        peer = transport.get_extra_info("peername")
        self._client = tuple(peer[:2]) if isinstance(peer, tuple) else None
        self._server.add(self)
        self._until = self._loop.time() + HEAD_SECONDS

    def data_received(self, data: bytes) -> None:
        """Parse what came. Pause reading while too much waits for the application."""
        if self._is_deaf:
            return
        if self._is_in_head:
            self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
            if self._is_in_head and self._head_bytes > HEAD_BYTES:
                raise Malformed(431, "The head of the request is too large.")
        except HttpParserUpgrade:
            self._be_deaf()
        except (HttpParserError, Malformed) as error:
            self._refuse(error)
        if not self._is_paused and (
            self._held > HELD_BYTES or len(self._requests) > PIPELINED_MOST
        ):
            self._is_paused = True
            self._transport.pause_reading()

    def eof_received(self) -> bool:
        """Note that the client sends no more; keep the connection while it waits for answers."""
        self._has_ended = True
        self._be_deaf()
        for request in self._requests:
            request.end()
        return bool(self._requests)

    def connection_lost(self, error: Exception | None) -> None:
        """Note that the client is gone. Its calls are carried to their end."""
        self._is_lost = self._is_deaf = True
        self._until = None
        self._server.remove(self)
        for request in self._requests:
            request.end()
        self.resume_writing()

    def pause_writing(self) -> None:
        """Let ``drain`` wait, but not for ever."""
        self.is_full, self._unsent = True, 0
        self._until = self._loop.time() + SEND_SECONDS

    def resume_writing(self) -> None:
        """Wake ``drain``."""
        self.is_full = False
        if self._task is not None:
            self._until = None
        drained, self._drained = self._drained, None
        if drained is not None and not drained.done():
            drained.set_result(None)

    # -- called by the parser

    def on_message_begin(self) -> None:
        """Begin a request; its time runs from here if no other request is being answered."""
        self._headers, self._target = [], b""
        self._head_bytes = self._header_count = 0
        self._is_in_head = True
        if self._task is None:
            self._until = self._loop.time() + HEAD_SECONDS

    def on_url(self, part: bytes) -> None:
        """Keep the target, which may come in parts."""
        self._target += part

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header. Trailers, which come after the body, are dropped."""
        self._head_bytes += len(name) + len(value)
        self._header_count += 1
        if self._head_bytes > HEAD_BYTES or self._header_count > HEADERS_MOST:
            raise Malformed(431, "The head of the request is too large.")
        if self._is_in_head:
            self._headers.append((name.lower(), value.rstrip(b" \t")))

    def on_headers_complete(self) -> None:
        """Hand the request to the application, or put it behind those that came before."""
        self._is_in_head, parser = False, self._parser
        self._head_bytes = self._header_count = 0  # those of the trailers from here on
        version = parser.get_http_version()
        given = dict(self._headers)
        check_framing(version, self._headers, given)
        if parser.should_upgrade() and (
            b"content-length" in given or TRANSFER_ENCODING in given
        ):  # llhttp does not read its body
            raise Malformed(400, "A request with a body cannot be an upgrade.")
        target = origin_form(self._target)
        scope = {
            "type": "http",
            "method": parser.get_method().decode("ascii"),
            "raw_path": target,
            "query_string": target.partition(b"?")[2],
            "headers": self._headers,
            "client": self._client,
        }
        awaits = given.get(b"expect", b"").lower() == b"100-continue"
        request = Request(self, scope, awaits_continue=awaits and version != "1.0")
        request.may_keep = parser.should_keep_alive()
        request.is_old = version == "1.0"
        self._coming = request
        self._requests.append(request)
        if self._task is None:
            self._until = None
            self._server.idle.pop(self, None)
            self._task = self._loop.create_task(self._answer_all())

    def on_body(self, piece: bytes) -> None:
        """Hold a piece of the body."""
        assert self._coming is not None
        self._coming.pieces.append(piece)
        self._held += len(piece)
        self._coming.wake()

    def on_message_complete(self) -> None:
        """Note that the body is whole."""
        assert self._coming is not None
        self._coming.is_whole = True
        self._coming.wake()
        self._coming = None

    # -- in between

    async def _answer_all(self) -> None:
        """Answer the requests that are there, in their order."""
        requests = self._requests
        while requests:
            request = requests[0]
            try:
                await self._server.application(
                    request.scope, request.receive, request.send
                )
            except Exception:
                log.exception("A request failed")
                await request.fail()
            requests.popleft()
            self._held -= sum(map(len, request.pieces))
            if not (request.is_answered and request.may_keep and request.is_whole):
                self._task = None
                self._close(request.is_whole)
                return
            self._let_come()
        self._task = None
        if self._is_lost or self._transport.is_closing():
            return
        self._server.idle[self] = None
        if self._malformed is not None:
            self._send_malformed(self._malformed)
        elif self._is_deaf or self._server.is_stopping:
            self._close(is_read=True)
        elif self._until is None or not self.is_full:
            wait = HEAD_SECONDS if self._is_in_head else IDLE_SECONDS
            self._until = self._loop.time() + wait

    def _let_come(self) -> None:
        if (
            self._is_paused
            and self._held <= HELD_BYTES
            and len(self._requests) <= PIPELINED_MOST
        ):
            self._is_paused = False
            if not self._is_lost:
                self._transport.resume_reading()

    def _be_deaf(self) -> None:
        """Read no more requests; the one whose body has not come whole is broken off."""
        self._is_deaf = True
        if self._coming is not None:
            self._coming.end()

    def _refuse(self, error: Exception) -> None:
        """Answer what is no request when those before it are answered, and close then.

        A body that is not valid breaks its request off, which is the application's to answer.
        """
        is_body = self._coming is not None
        is_over = bool(self._requests) and not self._requests[-1].may_keep
        self._be_deaf()
        if is_body or is_over:
            return
        # If one of our callbacks raised, its exception is the context of this one.
        cause = error if isinstance(error, Malformed) else error.__context__
        if not isinstance(cause, Malformed):
            cause = Malformed(400, f"The request is not valid HTTP: {error}.")
        if self._task is None:
            self._send_malformed(cause)
        else:
            self._malformed = cause

    def _send_malformed(self, malformed: Malformed) -> None:
        body = orjson.dumps({"error": str(malformed)})
        self._transport.write(
            status_line(malformed.status)
            + b"content-type: application/json\r\nconnection: close\r\n"
            + b"content-length: %d\r\n" % len(body)
            + date_line()
            + b"\r\n"
            + body
        )
        self._close(is_read=False)

    def _close(self, is_read: bool) -> None:
        """Close, but for a client that is still sending only after it could read the answer.

        Otherwise it would see a reset in place of the answer.
        """
        self._is_deaf, self._malformed = True, None
        self._requests.clear()  # of those behind it, which nobody answers
        self._held = 0
        if self._is_lost or self._transport.is_closing():
            return
        self._let_come()
        if is_read or self._has_ended:
            self._transport.close()
            self._until = self._loop.time() + SEND_SECONDS
        else:
            self._transport.write_eof()
            self._until = self._loop.time() + LINGER_SECONDS


class Server:
    """All connections of this process to one application."""

    def __init__(self, application: Application) -> None:
        self.application = application
        self.connections: set[ServerConnection] = set()
        # Those without a request that is being answered; the one that waits longest is first.
        self.idle: dict[ServerConnection, None] = {}
        self.is_stopping = False
        self._limit = connections_limit()

    async def run(
        self,
        listening: socket.socket,
        stopping: asyncio.Event,
        grace_seconds: float,
    ) -> None:
        """Serve until ``stopping`` is set; then give calls in flight so many seconds."""
        loop = asyncio.get_running_loop()
        listener = await loop.create_server(
            lambda: ServerConnection(self), sock=listening, backlog=BACKLOG
        )
        watching = loop.create_task(self._watch())
        await stopping.wait()
        listener.close()
        self.is_stopping = True
        for connection in list(self.connections):
            connection.stop()
        until = loop.time() + grace_seconds
        while self.connections and loop.time() < until:
            await asyncio.sleep(0.02)
        watching.cancel()
        for connection in list(self.connections):
            connection.abort()

    def add(self, connection: ServerConnection) -> None:
        """Keep a new connection, if need be in the place of the one that waits longest."""
        self.connections.add(connection)
        if len(self.connections) > self._limit and self.idle:
            longest = next(iter(self.idle))
            del self.idle[longest]
            longest.stop()
        self.idle[connection] = None

    def remove(self, connection: ServerConnection) -> None:
        """Forget a connection that is lost."""
        self.connections.discard(connection)
        self.idle.pop(connection, None)

    async def _watch(self) -> None:
        """Close the connections whose time is over."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(TICK_SECONDS)
            now = loop.time()
            for connection in list(self.connections):
                connection.end_if_late(now)


def connections_limit() -> int:
    """Return above how many connections idle ones are closed.

    Half of the files that the process may open are left for the connections to model servers.
    """
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files == resource.RLIM_INFINITY:
        return CONNECTIONS_MOST
    return min(CONNECTIONS_MOST, files // 2)


def check_framing(
    version: str, headers: list[tuple[bytes, bytes]], by_name: dict[bytes, bytes]
) -> None:
    """Raise ``Malformed`` for a head that two readers could understand differently.

    llhttp has refused a length that is repeated or stands beside chunks.
    """
    if version not in VERSIONS:
        raise Malformed(400, f"HTTP/{version} is not spoken here.")
    if version == "1.1" and b"host" not in by_name:
        raise Malformed(400, "The request has no Host header.")
    if TRANSFER_ENCODING not in by_name:
        return
    encodings = [value.lower() for name, value in headers if name == TRANSFER_ENCODING]
    if encodings != [b"chunked"] or version == "1.0":
        raise Malformed(400, "The only transfer encoding is chunked, of HTTP/1.1.")


def origin_form(target: bytes) -> bytes:
    """Return the path and query of a target that may be a whole URL (RFC 9112, 3.2.2)."""
    if target.startswith(b"/"):
        return target
    scheme, found, rest = target.partition(b"://")
    if not found or scheme.lower() not in (b"http", b"https"):
        return target
    rest = rest.partition(b"#")[0]
    path, question, query = rest.partition(b"?")
    return b"/" + path.partition(b"/")[2] + question + query


@cache
def status_line(status: int) -> bytes:
    """Return the first line of an answer; of a status that has no name, without one."""
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = ""
    return b"HTTP/1.1 %d %b\r\n" % (status, phrase.encode())


_dated: tuple[int, bytes] = (0, b"")


def date_line() -> bytes:
    """Return the Date header of this second."""
    global _dated
    now = int(time.time())
    if _dated[0] != now:
        _dated = now, f"date: {formatdate(now, usegmt=True)}\r\n".encode()
    return _dated[1]
