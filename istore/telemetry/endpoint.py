"""``GET /metrics`` of the roles that serve nothing else: listener, workers and beat.

It listens on ``ISTORE_METRICS_PORT``, in threads of its own, and is guarded as those of the web
server and the proxy are (``access``). ``GET /health/live`` is 200 while the process answers. A port
that is taken is logged, and the role goes on without its endpoint.
"""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from istore.telemetry.access import may_read_metrics
from istore.telemetry.exposition import CONTENT_TYPE

CLIENT_SECONDS = 5  # for a client to send its request, or to take a piece of the answer
CLIENTS_MOST = 8

log = logging.getLogger(__name__)


class Handler(BaseHTTPRequestHandler):
    """Answers one request, and closes the connection."""

    timeout = CLIENT_SECONDS
    server_version, sys_version = "inference-store", ""
    server: Endpoint

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/health/live":
            self._send(HTTPStatus.OK, "text/plain", b"live\n")
        elif path != "/metrics":
            self._send(HTTPStatus.NOT_FOUND, "text/plain", b"There is /metrics.\n")
        elif not may_read_metrics(
            self.client_address[0],
            self.headers.get("Authorization", "").encode("latin-1"),
        ):
            self._send(
                HTTPStatus.UNAUTHORIZED,
                "text/plain",
                b"The token of the metrics is missing or wrong.\n",
                ("WWW-Authenticate", "Bearer"),
            )
        else:
            self._send(HTTPStatus.OK, CONTENT_TYPE, self.server.render())

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing: a scraper comes every few seconds."""

    def _send(
        self, status: HTTPStatus, content_type: str, body: bytes, *more: tuple[str, str]
    ) -> None:
        self.send_response(status)
        for name, value in (
            ("Content-Type", content_type),
            ("Content-Length", str(len(body))),
            ("Connection", "close"),
            *more,
        ):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


class Endpoint(ThreadingHTTPServer):
    """The server; more than ``CLIENTS_MOST`` clients at a time are hung up on."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, host: str, port: int, render: Callable[[], bytes]) -> None:
        self.render = render
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._places = threading.BoundedSemaphore(CLIENTS_MOST)
        super().__init__((host, port), Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._places.acquire(blocking=False):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        log.debug("a request for metrics broke off", exc_info=True)


def start(host: str, port: int, render: Callable[[], bytes]) -> Endpoint | None:
    """Serve the metrics in a thread; return None if the address cannot be used."""
    try:
        server = Endpoint(host, port, render)
    except OSError as error:
        log.error("no metrics at port %d: %s", port, error.strerror or error)
        return None
    threading.Thread(target=server.serve_forever, name="metrics", daemon=True).start()
    return server
