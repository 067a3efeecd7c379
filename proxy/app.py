"""The ASGI application of the proxy: its routes, and its error responses.

Routes are the proxy's own endpoints (``/v2``, health, metrics), calls of sessions below
``PREFIX``, calls of models below ``/v2/models/``, and those by text APIs (``proxy.text``).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import MutableMapping
from typing import Any

from istore.telemetry import exposition, metrics, startup, tracing
from istore.telemetry.access import may_read_metrics
from proxy import call_context, limits
from proxy.answers import (
    AGAIN_IN_A_SECOND,
    Receive,
    Refused,
    Scope,
    Send,
    nothing_here,
    send_json,
    send_whole,
    unauthenticated,
)
from proxy.counters import counts
from proxy.error_forms import ErrorForm, in_v2, send_refusal
from proxy.http.headers import REQUEST_ID, Headers
from proxy.http.request_body import Reader
from proxy.inference_handler import Proxy
from proxy.paths import PLAIN, method_of, read_path
from proxy.problems import in_problem
from proxy.response_reading import BrokenOff
from proxy.sessions.calls import PREFIX, SessionCalls
from proxy.text.calls import TextCalls
from proxy.text.endpoints import error_form_of, is_text_path, read_listing, read_route

NAME, VERSION = "inference-store", "1"
EXTENSIONS = ["binary_tensor_data"]

log = logging.getLogger(__name__)


class Application:
    """The ASGI callable. It routes a request and turns a ``Refused`` into its response."""

    def __init__(self, proxy: Proxy) -> None:
        self.proxy = proxy
        self.is_draining = False
        self.sessions = SessionCalls(proxy)
        self.text = TextCalls(proxy)
        counts.measure = self.measure
        self.own = {
            b"/v2": self.server,
            b"/v2/": self.server,
            b"/v2/health/live": self.live,
            b"/v2/health/ready": self.ready,
            b"/metrics": self.metrics,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        headers = Headers(scope["headers"], (scope.get("client") or ("",))[0])
        is_held_back = headers.get(b"expect") is not None
        declared = headers.get(b"content-length")
        reader = Reader(receive, declared, is_held_back=is_held_back)
        sending = Sending(send)
        is_call = scope["raw_path"].partition(b"?")[0] not in self.own
        counts.in_flight += is_call
        call_context.begin(headers)
        try:
            if tracing.is_on and is_call:
                await self._answer_traced(scope, headers, reader, sending)
            else:
                await self.answer(scope, headers, reader, sending)
        except Exception as error:
            # Too late for an error status once it has begun: the client sees it end early.
            if sending.is_begun:
                if not isinstance(error, Refused | BrokenOff):
                    raise
                log.warning("An answer ended early: %s", str(error))
                return
            request_id = call_context.request_id()
            refused = error if isinstance(error, Refused) else _failed()
            counts.refused[refused.status] += 1
            await reader.discard()
            form = _error_form(scope, headers)
            named = (REQUEST_ID, request_id.encode())
            await send_refusal(sending, refused, form, named)
        finally:
            counts.in_flight -= is_call

    async def _answer_traced(
        self, scope: Scope, headers: Headers, reader: Reader, send: Sending
    ) -> None:
        """Answer within a span, below the trace context that the caller gave."""
        given = call_context.traceparent()
        name = f"proxy {_kind_of(scope['raw_path'].partition(b'?')[0])}"
        with tracing.server_span(name, given) as span:
            try:
                await self.answer(scope, headers, reader, send)
            except Refused as refused:
                send.status = send.status or refused.status
                raise
            finally:
                if send.status:
                    span.set_attribute("http.response.status_code", send.status)

    async def answer(
        self, scope: Scope, headers: Headers, reader: Reader, send: Send
    ) -> None:
        """Route one request. Raises ``Refused`` for what the proxy answers with an error."""
        path, method = scope["raw_path"].partition(b"?")[0], scope["method"]
        if problem := headers.ambiguity():
            raise Refused(400, problem, code="invalid-header")
        if own := self.own.get(path):
            if method != "GET":
                raise _not_allowed("GET")
            if own == self.metrics:
                check_metrics(scope, headers)
            await own(send)
            return
        query = scope["query_string"].decode("latin-1")
        query = f"?{query}" if query else ""
        if path.startswith(PREFIX):
            if method != "POST":
                raise _not_allowed("POST")
            await self.sessions.infer(path, query, headers, reader, send)
            return
        if is_text_path(path):
            await self._answer_text(path, method, query, headers, reader, send)
            return
        if not path.startswith(b"/v2/models/"):
            raise Refused(404, "There is no such path.")
        readings = read_path(path)
        calls = tuple(call for call in readings if call.method == method)
        wanted = method_of(path)
        if method not in (wanted, "GET") or (method != wanted and not calls):
            raise _not_allowed(wanted)
        # A path without any reading goes on as well: without a token its answer is 401
        # rather than 404, as for a model that does not exist.
        if method == "POST" and any(call.kind in PLAIN for call in calls):
            await self.text.generate(calls, query, headers, reader, send)
            return
        if method == "POST":
            await self.proxy.infer(calls, headers, query, reader, send)
            return
        try:
            await self.proxy.forward(calls, headers, query, send)
        except Refused as refused:
            if method == wanted or refused.status not in (401, 404):
                raise
            # GET of ``a/infer`` was read as the metadata of a model ``a/infer``, which does
            # not exist. So the path is that of a call, which allows another method.
            raise _not_allowed(wanted) from None

    async def _answer_text(
        self,
        path: bytes,
        method: str,
        query: str,
        headers: Headers,
        reader: Reader,
        send: Send,
    ) -> None:
        route, listing = read_route(path), read_listing(path)
        if method == "POST" and route:
            await self.text.infer(route, query, headers, reader, send)
        elif method == "GET" and listing:
            await self.text.list_models(listing, headers, send)
        elif route or listing:
            raise _not_allowed("POST" if route else "GET")
        else:
            raise nothing_here()

    async def live(self, send: Send) -> None:
        """Answer 200 as long as the process answers at all."""
        await send_json(send, 200, {"live": True})

    async def ready(self, send: Send) -> None:
        """Answer 200 if calls can be admitted, else 503. A full spool refuses no call.

        Without the database the proxy still admits callers that it remembers, and a load
        balancer must not take it out of service for that: the answer is 200 then, with status
        ``degraded``.
        """
        is_ready, reason = await self.proxy.admission.is_ready()
        if not is_ready:
            raise Refused(503, reason, AGAIN_IN_A_SECOND)
        if self.is_draining:
            raise Refused(503, "The proxy is stopping.", AGAIN_IN_A_SECOND)
        status = "degraded" if reason else "ready"
        value: dict[str, Any] = {"ready": True, "status": status}
        if reason:
            value["reasons"] = {"database": reason}
        await send_json(send, 200, value)

    async def server(self, send: Send) -> None:
        """Send the server metadata of the open inference protocol."""
        value = {"name": NAME, "version": VERSION, "extensions": EXTENSIONS}
        await send_json(send, 200, value)

    async def metrics(self, send: Send) -> None:
        """Send the Prometheus metrics of all proxy processes of this store."""
        # In a thread: files are read, and Valkey is asked.
        text = await asyncio.to_thread(startup.process.render, metrics.PROXY)
        content_type = (b"content-type", exposition.CONTENT_TYPE.encode())
        await send_whole(send, 200, [content_type], text)

    def measure(self) -> None:
        """Set what the metrics tell of this moment."""
        counts.in_flight_bytes = self.proxy.permits.held
        lease = self.proxy.admission.lease
        counts.database_away = int(lease.is_away)
        is_stale = lease.silent_seconds >= limits.PROXY_STALE_SECONDS
        counts.ready = int(not (lease.is_away and is_stale))


def check_metrics(scope: Scope, headers: Headers) -> None:
    """Raise ``Refused`` (401) unless the peer or its token may read the metrics."""
    peer = (scope.get("client") or ("",))[0]
    if not may_read_metrics(peer, headers.get(b"authorization") or b""):
        raise unauthenticated()


class Sending:
    """An ASGI ``send`` that knows whether the response has begun."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.is_begun = False
        self.status = 0

    async def __call__(self, message: MutableMapping[str, Any]) -> None:
        if not self.is_begun:
            self.is_begun = True
            self.status = message.get("status", 0)
        await self._send(message)


def _kind_of(path: bytes) -> str:
    """Return which of its faces was called: a name for spans, without the name of a model."""
    if path.startswith(PREFIX):
        return "session"
    if is_text_path(path):
        return "text"
    return "inference" if path.startswith(b"/v2/models/") else "other"


def _error_form(scope: Scope, headers: Headers) -> ErrorForm:
    """Return the form in which a client of this path expects an error."""
    path = scope["raw_path"].partition(b"?")[0]
    if path.startswith(PREFIX):
        return in_problem
    if is_text_path(path):
        return error_form_of(path, headers.get(b"anthropic-version") is not None)
    return in_v2


def _not_allowed(method: str) -> Refused:
    allowed = (b"allow", method.encode())
    return Refused(405, f"Only {method} is allowed here.", allowed)


def _failed() -> Refused:
    log.exception("A call failed")
    return Refused(500, "Something went wrong here.")
