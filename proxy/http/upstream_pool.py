"""The pool of connections to model servers, and a call on one of them.

A connection goes to exactly the address that was checked: names are resolved once for each
connection, and an address that is not allowed is never tried.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import Sequence
from functools import cache
from types import TracebackType
from typing import Any
from urllib.parse import quote, urlsplit

from django.conf import settings

from istore.telemetry import tracing
from istore.upstreams import PORTS, allowed_address, is_literal, is_this_machine
from proxy import limits
from proxy.answers import AGAIN_IN_A_SECOND, Refused
from proxy.http.http1_client import (
    BrokeOff,
    Connection,
    NotHttp,
    Response,
    written_head,
)
from proxy.http.timeouts import Timeout
from proxy.paths import Call
from proxy.targets import Target

# Seconds that an idle connection is kept. Shorter than the keep-alive timeout of any server,
# so that none closes a connection just as we use it again.
KEPT_SECONDS = 2
HOSTS_AT_ONCE = 8
NOT_IMPLEMENTED = 501
IN_A_PATH = "/%:@!$&'()*+,;=~"
INVALID = "upstream-invalid-response"


class Server:
    """One model server: its concurrency limit, and the idle connections to it."""

    def __init__(
        self, base_url: str, is_ours: bool = False, is_elsewhere: bool = False
    ) -> None:
        parts = urlsplit(base_url)
        self._is_ours = is_ours
        self._is_elsewhere = is_elsewhere
        self.host = parts.hostname or ""
        self.port = parts.port or PORTS[parts.scheme]
        self.path = quote(parts.path, safe=IN_A_PATH)
        self._tls = tls() if parts.scheme == "https" else None
        name = f"[{self.host}]" if ":" in self.host else self.host
        name = name if name.isascii() else name.encode("idna").decode()
        self.name = name if parts.port is None else f"{name}:{self.port}"
        self.places = asyncio.Semaphore(limits.UPSTREAM_CONCURRENCY)
        self.idle: list[Connection] = []

    async def take_place(self) -> None:
        """Wait for one of the server's places.

        Raises ``Refused`` (503) when that takes too long.
        """
        if not self.places.locked():
            await self.places.acquire()
            return
        try:
            with Timeout(limits.UPSTREAM_TOTAL_SECONDS):
                await self.places.acquire()
        except TimeoutError:
            raise Refused(503, "The upstream is busy.", AGAIN_IN_A_SECOND) from None

    def take_idle(self) -> Connection | None:
        """Return an idle connection that can be used; None if there is none."""
        newest = time.monotonic() - KEPT_SECONDS
        while self.idle:
            connection = self.idle.pop()
            if connection.can_be_used and connection.idle_since > newest:
                return connection
            connection.close()
        return None

    def close_idle(self, since: float) -> None:
        """Close the connections that have been idle since that moment."""
        while self.idle and self.idle[0].idle_since <= since:
            self.idle.pop(0).close()

    async def connect(self) -> Connection:
        """Return a connection to the first allowed address that answers. Raises OSError."""
        loop = asyncio.get_running_loop()
        reason = OSError(None, "No address of the upstream is an allowed one.")
        for address in await self._addresses():
            if not self._may_ask(address):
                continue
            try:
                async with asyncio.timeout(limits.UPSTREAM_CONNECT_SECONDS):
                    _, connection = await loop.create_connection(
                        Connection,
                        address,
                        self.port,
                        ssl=self._tls,
                        server_hostname=self.host if self._tls else None,
                    )
                return connection
            except OSError as error:
                reason = error
        raise reason

    def _may_ask(self, address: str) -> bool:
        """Return whether the address is allowed; servers that we started ourselves always are."""
        if self._is_ours:
            return True
        # The port is that of a session's process, which must be reached through its session
        # and not through the URL of a model.
        if self._is_elsewhere and is_this_machine(address):
            return False
        return allowed_address(address, self.host, self.port)

    async def _addresses(self) -> list[str]:
        if is_literal(self.host):
            return [self.host]
        found = await asyncio.get_running_loop().getaddrinfo(
            self.host, self.port, type=socket.SOCK_STREAM
        )
        return list(dict.fromkeys(str(each[4][0]) for each in found))


class Upstreams:
    """All model servers of this process. It must be made within the running event loop."""

    def __init__(self) -> None:
        self._servers: dict[tuple[str, bool, bool], Server] = {}
        self._loop = asyncio.get_running_loop()
        self._most = limits.UPSTREAM_CONCURRENCY * HOSTS_AT_ONCE
        self._in_use = 0
        self._loop.call_later(KEPT_SECONDS, self._sweep)

    def ask(
        self,
        target: Target,
        call: Call,
        query: str,
        headers: Sequence[bytes],
        body: bytes | None = None,
    ) -> UpstreamRequest:
        """Return a call to use with ``async with``: on entry it has the head of the answer.

        The body is read within the block. Raises ``Refused``: silence is 504; a server that
        cannot be reached, breaks off, or does not speak HTTP is 502.
        """
        if target.problem:
            raise Refused(502, target.problem)
        key = target.base_url, target.is_ours, target.is_elsewhere
        server = self._servers.get(key)
        if server is None:
            server = self._servers[key] = Server(*key)
        return UpstreamRequest(self, server, target, call, query, headers, body)

    def take(self) -> None:
        """Count a call in flight. Raises ``Refused`` (503) when there are too many."""
        if self._in_use >= self._most:
            raise Refused(503, "The upstreams are busy.", AGAIN_IN_A_SECOND)
        self._in_use += 1

    def give_back(self) -> None:
        """Count a call as ended."""
        self._in_use -= 1

    def _sweep(self) -> None:
        since = time.monotonic() - KEPT_SECONDS
        for server in self._servers.values():
            server.close_idle(since)
        self._loop.call_later(KEPT_SECONDS, self._sweep)


class UpstreamRequest:
    """One call to a server, with its place, its connection and its timeout.

    Some servers know no model versions: they answer 501 and have done nothing. Which server
    answers for a model is our own record, so the call is repeated without the version.
    """

    __slots__ = (
        "_body",
        "_call",
        "_connection",
        "_headers",
        "_query",
        "_server",
        "_span",
        "_target",
        "_upstreams",
        "patience",
        "response",
    )

    def __init__(
        self,
        upstreams: Upstreams,
        server: Server,
        target: Target,
        call: Call,
        query: str,
        headers: Sequence[bytes],
        body: bytes | None,
    ) -> None:
        self._upstreams = upstreams
        self._server = server
        self._target = target
        self._call = call
        self._query = query
        self._headers = headers
        self._body = body
        self._connection: Connection | None = None
        self._span: Any = None
        self.patience = Timeout(limits.UPSTREAM_TOTAL_SECONDS)
        self.response: Response

    async def __aenter__(self) -> UpstreamRequest:
        self._upstreams.take()
        try:
            await self._server.take_place()
        except BaseException:
            self._upstreams.give_back()
            raise
        self.patience.__enter__()
        if tracing.is_on:
            self._begin_span()
        try:
            self.response = await self._ask()
            check_answer(self.response)
        except BaseException as error:
            await self.__aexit__(type(error), error, error.__traceback__)
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._let_go()
        if self._span is not None:
            self._end_span(kind)
        self._server.places.release()
        self._upstreams.give_back()
        try:
            self.patience.__exit__(kind, error, trace)
        except TimeoutError as late:
            error = late
        if error is not None:
            tell_apart(error)

    def _begin_span(self) -> None:
        """Begin a span of the call; the server gets its context where the settings say so."""
        self._span = tracing.client_span("upstream")
        if settings.ISTORE_OTEL_TO_UPSTREAM:
            own = f"traceparent: {tracing.traceparent_of(self._span)}\r\n".encode()
            kept = [e for e in self._headers if not e.startswith(b"traceparent:")]
            self._headers = [*kept, own]

    def _end_span(self, kind: type[BaseException] | None) -> None:
        response = getattr(self, "response", None)
        if response is not None:
            self._span.set_attribute("http.response.status_code", response.status)
        if kind is not None or (response is not None and response.status >= 500):
            tracing.mark_failed(self._span, kind.__qualname__ if kind else "")
        self._span.end()

    async def _ask(self) -> Response:
        call = self._call
        for version in (call.version, None):
            path = call.upstream_path(self._target.name, version)
            response = await self._ask_at(path)
            if version is None or response.status != NOT_IMPLEMENTED:
                break
            self._let_go()
        return response

    async def _ask_at(self, path: str) -> Response:
        server, body = self._server, self._body
        headers = self._headers
        if body is not None:
            headers = [*headers, b"Content-Length: %d\r\n" % len(body)]
        path = server.path + path + self._query
        head = written_head(self._call.method, path, server.name, headers)
        while True:
            connection = server.take_idle()
            if connection is None:
                connection = await server.connect()
            self._connection = connection
            try:
                return await connection.ask(head, body or b"")
            except BrokeOff:
                # The server closed the connection while it was idle. A request without a
                # body has no effect, so it is repeated on another connection.
                may_repeat = body is None and connection.was_used
                if not may_repeat or connection.heard:
                    raise
                self._let_go()

    def _let_go(self) -> None:
        """Return the connection to the pool, or close it if its answer was not read to the end."""
        connection, self._connection = self._connection, None
        if connection is not None and connection.release():
            self._server.idle.append(connection)


@cache
def tls() -> ssl.SSLContext:
    """Return the TLS context of all connections, made once."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


def tell_apart(error: BaseException) -> None:
    """Raise ``Refused`` with the status for this error; return if it is none of an upstream."""
    if isinstance(error, TimeoutError):
        raise Refused(504, "The upstream did not answer in time.") from error
    if isinstance(error, BrokeOff):
        raise Refused(502, "The upstream broke off.", code=INVALID) from error
    if isinstance(error, NotHttp):
        message = "The upstream's answer is not valid HTTP."
        raise Refused(502, message, code=INVALID) from error
    if isinstance(error, OSError | ValueError):
        raise Refused(502, "The upstream is unavailable.") from error


def check_answer(response: Response) -> None:
    """Raise ``Refused`` (502) for a redirect, or for an answer that says it is too large."""
    if 300 <= response.status < 400:
        raise Refused(502, "The upstream answered with a redirect.", code=INVALID)
    if (response.length or 0) > limits.PROXY_MAX_RESPONSE_BYTES:
        raise too_large()


def too_large() -> Refused:
    """Return a 502 for an answer above the limit."""
    limit = limits.PROXY_MAX_RESPONSE_BYTES
    message = f"The upstream's answer is larger than {limit} bytes."
    return Refused(502, message, code="upstream-too-large")
