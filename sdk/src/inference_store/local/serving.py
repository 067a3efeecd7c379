"""Run a mock as an HTTP server: Open Inference Protocol V2, OpenAI's paths, plain JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

from inference_store.local import v2
from inference_store.mocks import Mock, MockError, openai

MAX_BODY = 64 * 1024 * 1024
MODEL = re.compile(r"/v2/models/([^/]+)(?:/versions/[^/]+)?(/ready|/infer)?")


class MockServer(ThreadingHTTPServer):
    """An HTTP server of one mock; each request has a thread of its own."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, mock: Mock, host: str, port: int) -> None:
        self.mock = mock
        super().__init__((host, port), _Handler)

    @property
    def url(self) -> str:
        host, port = self.server_address[:2]
        return f"http://{host!s}:{port}"


def serve(mock: Mock, port: int = 0, host: str = "127.0.0.1") -> MockServer:
    """Return a server of a mock. Its socket is bound, but it does not run yet.

    It serves ``/v2/…`` (the model has the name of the mock), ``POST /<endpoint>`` with plain
    JSON, and ``GET /`` as a liveness check. If the mock is of that kind it also serves
    ``/v1/chat/completions``, ``/v1/completions`` or ``/v1/embeddings``, with ``stream`` too.

    Parameters:
        mock: the mock that answers.
        port: the port to listen on; 0 chooses a free one, which ``url`` shows.
        host: the address to listen on; only this machine when not given.

    Returns:
        The server. ``serve_forever()`` runs it until another thread calls ``shutdown()``.
    """
    return MockServer(mock, host, port)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "inference-store-mock"
    server: MockServer

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        mock = self.server.mock
        model = MODEL.fullmatch(path)
        if path in ("/", "/health", "/v2/health/live", "/v2/health/ready"):
            self._send(200, {"ready": True})
        elif path in ("/v2", "/v2/"):
            server = {"name": "inference-store-mock", "version": "1"}
            self._send(200, {**server, "extensions": ["binary_tensor_data"]})
        elif path == "/v1/models":
            self._send(200, openai.models(mock))
        elif model and model[1] == mock.name and model[2] != "/infer":
            ready = {"name": mock.name, "ready": True}
            self._send(200, ready if model[2] else v2.metadata(mock))
        else:
            self._send_absent(path)

    def do_POST(self) -> None:
        path = unquote(urlsplit(self.path).path)
        content = self._content()
        if content is None:
            return
        try:
            self._answer(path, content)
        except MockError as error:
            self._send(error.status, self._error(path, str(error), error.status))

    def _answer(self, path: str, content: bytes) -> None:
        mock = self.server.mock
        model = MODEL.fullmatch(path)
        if model and model[1] == mock.name and model[2] == "/infer":
            length = self.headers.get("Inference-Header-Content-Length")
            self._send(200, v2.answer(mock, v2.read_body(content, length)))
        elif path in openai.PATHS and isinstance(mock, openai.PATHS[path]):
            body = v2.read_body(content, None)
            if openai.is_streamed(mock, body):
                # Computed before the first byte is sent: a bad request gets an error, not a stream.
                self._stream(openai.events(mock, path, body))
            else:
                self._send(200, openai.answer(mock, path, body))
        elif path.strip("/") == mock.interface.endpoint:
            self._send(200, mock.infer(v2.read_body(content, None)))
        else:
            self._send_absent(path)

    def _send_absent(self, path: str) -> None:
        name, model = self.server.mock.name, MODEL.fullmatch(path)
        known = (
            f" The model of this server is {name}."
            if model and model[1] != name
            else ""
        )
        self._send(404, self._error(path, f"There is no {path:.200}.{known}", 404))

    def _content(self) -> bytes | None:
        """Return the body, or None after sending an error about it."""
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or int(length) > MAX_BODY:
            self.close_connection = True
            status = 413 if length.isdecimal() else 411
            message = f"The body needs a Content-Length of at most {MAX_BODY} bytes."
            self._send(status, {"error": message})
            return None
        return self.rfile.read(int(length))

    def _error(self, path: str, message: str, status: int) -> dict[str, Any]:
        is_openai = path.startswith("/v1/")
        return openai.error(message, status) if is_openai else {"error": message}

    def _send(self, status: int, body: Any) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _stream(self, events: Iterable[bytes]) -> None:
        self.send_response(200)
        self.send_header("Content-Type", openai.EVENTS)
        self.send_header("Cache-Control", "no-cache")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for event in events:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(event), event))
            self.wfile.flush()
        self.wfile.write(b"0\r\n\r\n")

    def handle(self) -> None:
        try:
            super().handle()
        except ConnectionError:  # the client disconnected
            self.close_connection = True

    def log_message(self, format: str, *arguments: Any) -> None:
        """Log nothing: a mock may get very many requests."""
