"""The web process: it reads each request body on the event loop, then answers in a thread.

Django runs under WSGI in a few threads. A thread is taken only when the whole body is there,
so a client that sends slowly, or stops sending, holds none. ASGI also tells a body that ended
from one that broke off, even if it is chunked; WSGI gives the same empty read for both.

A body waits in memory, a larger one in a temporary file. A body above the API's limit is
accepted only if the view says ``takes_files``: uploads, and files of ground truth.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import IO, Any
from wsgiref.util import FileWrapper

import orjson
from django.conf import settings
from django.urls import Resolver404, resolve

from istore.addresses import decode_path
from istore.api.problems import CONTENT_TYPE, problem
from istore.api.request_body import INCOMPLETE, WHOLE
from istore.telemetry import web_requests
from istore.telemetry.pools import ObservedThreads
from istore.wsgi import application as django_application

THREADS = 8
WAITING_FILES = 4  # bodies of the largest size that may be held at once
FILE_PIECE = 64 * 1024
UPLOADS = "ISTORE_UPLOAD_MAX_BYTES"  # the limit of views that name no other setting
IN_MEMORY = 256 * 1024  # bytes; a larger body is kept in a temporary file
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Start = Callable[..., None]


class Refused(Exception):
    """A request that is answered with an error before Django sees it."""

    def __init__(self, status: int, code: str, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code


class WaitingBytes:
    """The number of body bytes that this process holds, and its limit."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.held = 0


class RequestBody:
    """The body of one request, in memory or in a temporary file, and its size in bytes."""

    def __init__(self, waiting: WaitingBytes) -> None:
        self.file = tempfile.SpooledTemporaryFile(IN_MEMORY)  # noqa: SIM115 see close
        self.size = 0
        self._waiting = waiting
        self._pieces: list[bytes] = []
        self._gathered = 0

    async def read(self, receive: Receive, limit: Callable[[], int]) -> None:
        """Read the whole body. Raises ``Refused`` if it is too large, too slow or breaks off."""
        more = True
        while more:
            try:
                async with asyncio.timeout(settings.ISTORE_CLIENT_BODY_SECONDS):
                    message = await receive()
            except TimeoutError:
                detail = "The body did not arrive in time."
                raise Refused(408, "request-timeout", detail) from None
            if message["type"] == "http.disconnect":
                raise Refused(400, INCOMPLETE, "The body broke off before its end.")
            more = message.get("more_body", False)
            await self._take(message.get("body", b""), limit)
        await self._write()
        self.file.seek(0)

    async def _take(self, piece: bytes, limit: Callable[[], int]) -> None:
        self.size += len(piece)
        self._waiting.held += len(piece)  # ``close`` subtracts the whole ``size``
        if self.size > settings.ISTORE_API_MAX_BODY_BYTES and self.size > limit():
            raise too_large()
        if self._waiting.held > self._waiting.limit:
            detail = "Too much is being uploaded. Try again soon."
            raise Refused(503, "dependency-unavailable", detail)
        self._pieces.append(piece)
        self._gathered += len(piece)
        if self._gathered > IN_MEMORY:
            await self._write()

    async def _write(self) -> None:
        found, self._pieces, self._gathered = b"".join(self._pieces), [], 0
        if self.size <= IN_MEMORY:
            self.file.write(found)
        else:  # in a thread: a slow disk must not block the event loop
            await asyncio.to_thread(self.file.write, found)

    def close(self) -> None:
        """Release the bytes of the body and its temporary file."""
        self._waiting.held -= self.size
        self.file.close()


class Application:
    """The ASGI callable around a WSGI application."""

    def __init__(self, wsgi: Callable[..., Iterable[bytes]]) -> None:
        self._wsgi = wsgi
        self._threads = ObservedThreads(THREADS, "web")
        self._waiting = WaitingBytes(WAITING_FILES * settings.ISTORE_UPLOAD_MAX_BYTES)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        loop = asyncio.get_running_loop()
        body = RequestBody(self._waiting)
        began_at = time.perf_counter()
        try:
            await self._read(body, scope, receive)
            answer = Answer(loop, receive, send)
            environ = environ_of(scope, body)
            await loop.run_in_executor(self._threads, answer.give, self._wsgi, environ)
            await answer.finish()
        except Refused as error:
            await refuse(send, error)
            took = time.perf_counter() - began_at
            web_requests.observe_unread(scope["method"], error.status, took)
        finally:
            body.close()

    async def _read(self, body: RequestBody, scope: Message, receive: Receive) -> None:
        named = dict(scope["headers"])
        declared = named.get(b"content-length", b"0")
        if not declared.isdigit() or len(declared) > 19:
            raise Refused(400, "invalid-header", "Content-Length is not a number.")
        if declared == b"0" and b"transfer-encoding" not in named:
            return

        def limit() -> int:
            return body_limit(raw_path(scope))

        most = settings.ISTORE_API_MAX_BODY_BYTES
        if int(declared) > most and int(declared) > limit():
            raise too_large()
        await body.read(receive, limit)


class FileStream(FileWrapper):
    """A file response in pieces of 64 KiB, instead of Django's 4 KiB."""

    streaming = True

    def __init__(self, file: IO[bytes], size: int = FILE_PIECE) -> None:
        super().__init__(file, max(size, FILE_PIECE))


class Answer:
    """The response of Django, sent from the event loop; a complete one is sent at once."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, receive: Receive, send: Send
    ) -> None:
        self._loop = loop
        self._receive = receive
        self._send = send
        self._head: Message = {}
        self._whole: bytes | None = None

    def give(
        self, wsgi: Callable[..., Iterable[bytes]], environ: dict[str, Any]
    ) -> None:
        """Run the WSGI application in a thread. A streaming response is sent from here."""
        pieces = wsgi(environ, self._start)
        try:
            if getattr(pieces, "streaming", False):
                self._stream(pieces)
            else:
                self._whole = b"".join(pieces)
        finally:
            if hasattr(pieces, "close"):
                pieces.close()

    async def finish(self) -> None:
        """Send the response, unless it was a stream, which ``give`` has sent."""
        if self._whole is not None:
            await self._send(self._head)
            await self._send({"type": "http.response.body", "body": self._whole})

    def _start(
        self, status: str, headers: list[tuple[str, str]], exc_info: Any = None
    ) -> None:
        self._head = {
            "type": "http.response.start",
            "status": int(status.partition(" ")[0]),
            "headers": [
                (name.lower().encode("latin-1"), value.encode("latin-1"))
                for name, value in headers
            ],
        }

    def _stream(self, pieces: Iterable[bytes]) -> None:
        left = asyncio.run_coroutine_threadsafe(self._until_gone(), self._loop)
        try:
            self._tell(self._head)
            for piece in pieces:
                if left.done():  # the client disconnected
                    return
                if piece:
                    self._tell(_piece(piece, more=True))
            self._tell(_piece(b"", more=False))
        finally:
            left.cancel()

    def _tell(self, message: Message) -> None:
        """Send from this thread. Raises ``TimeoutError`` when the client takes no bytes."""
        asyncio.run_coroutine_threadsafe(self._deliver(message), self._loop).result()

    async def _deliver(self, message: Message) -> None:
        # This coroutine is needed because ``send`` may return any awaitable. The timeout: a
        # client that stops reading must not hold one of the few threads for ever.
        async with asyncio.timeout(settings.ISTORE_CLIENT_BODY_SECONDS):
            await self._send(message)

    async def _until_gone(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass


def environ_of(scope: Message, body: RequestBody) -> dict[str, Any]:
    """Return the WSGI environ of a request, as in PEP 3333."""
    host, port = scope.get("server") or ("localhost", 0)
    environ: dict[str, Any] = {
        "REQUEST_METHOD": scope["method"],
        "SCRIPT_NAME": "",
        "PATH_INFO": decode_path(raw_path(scope)).decode("latin-1"),
        "QUERY_STRING": scope["query_string"].decode("latin-1"),
        "SERVER_NAME": host,
        "SERVER_PORT": str(port),
        "SERVER_PROTOCOL": f"HTTP/{scope['http_version']}",
        "REMOTE_ADDR": (scope.get("client") or ("",))[0],
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope.get("scheme", "http"),
        "wsgi.input": body.file,
        "wsgi.errors": sys.stderr,
        "wsgi.file_wrapper": FileStream,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
        WHOLE: True,
    }
    for raw_name, raw_value in scope["headers"]:
        name = raw_name.decode("latin-1").upper().replace("-", "_")
        if "_" in raw_name.decode("latin-1"):
            continue  # in the environ it would look like the header with a hyphen
        value = raw_value.decode("latin-1")
        if name in ("CONTENT_TYPE", "CONTENT_LENGTH"):
            environ.setdefault(name, value)
        else:
            key = f"HTTP_{name}"
            joined = "; " if key == "HTTP_COOKIE" else ","
            environ[key] = f"{environ[key]}{joined}{value}" if key in environ else value
    if body.size:
        environ["CONTENT_LENGTH"] = str(body.size)  # a chunked body has no such header
    return environ


def body_limit(path: bytes) -> int:
    """Return how many bytes the view accepts beyond the API's limit; 0 if it says nothing."""
    try:
        found = resolve(decode_path(path).decode())
    except (Resolver404, UnicodeDecodeError):
        return 0
    view = getattr(found.func, "view_class", None) or getattr(found.func, "cls", None)
    view = view or found.func
    if not getattr(view, "takes_files", False):
        return 0
    limit: int = getattr(settings, getattr(view, "limit_setting", UPLOADS))
    return limit


def raw_path(scope: Message) -> bytes:
    path: bytes = scope["raw_path"]
    return path.partition(b"?")[0]


def too_large() -> Refused:
    return Refused(413, "body-too-large", "The body is too large.")


async def refuse(send: Send, error: Refused) -> None:
    body = orjson.dumps(problem(error.status, error.code, str(error)))
    headers = [
        (b"content-type", CONTENT_TYPE.encode()),
        (b"content-length", b"%d" % len(body)),
        (b"connection", b"close"),  # the rest of the body is not read
    ]
    if error.status == 503:
        headers.append((b"retry-after", b"2"))
    start = {"type": "http.response.start", "status": error.status, "headers": headers}
    await send(start)
    await send({"type": "http.response.body", "body": body})


def _piece(body: bytes, *, more: bool) -> Message:
    return {"type": "http.response.body", "body": body, "more_body": more}


application = Application(django_application)
