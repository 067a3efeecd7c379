"""A relay before an object store, which keeps requests and plants faults.

Faults are planted before moto. Where requests are only counted, a real server is behind it.
"""

from __future__ import annotations

import http.client
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from moto.server import ThreadedMotoServer

from tests.s3_server import BUCKET, client, options, variables

__all__ = ["BUCKET", "client", "options", "variables"]
HOP = {"connection", "transfer-encoding", "keep-alive", "host", "expect"}


@dataclass
class Request:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes


Fault = Callable[[Request, Callable[[Request], Answer]], Answer]


@dataclass
class Relay:
    """``fault`` gets each request and what sends it on; None passes all on."""

    target: tuple[str, int]
    fault: Fault | None = None
    requests: list[Request] = field(default_factory=list)
    scheme: str = "http"
    states_length: Callable[[Request, Answer], int] = lambda request, answer: len(
        answer.body
    )

    def start(self, tls: ssl.SSLContext | None = None) -> None:
        relay = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1

            def serve(self) -> None:
                if self.headers.get("Expect", "").lower() == "100-continue":
                    self.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                    self.wfile.flush()
                length = int(self.headers.get("Content-Length") or 0)
                body = self.rfile.read(length)
                request = Request(self.command, self.path, dict(self.headers), body)
                relay.requests.append(request)
                answer = (
                    relay.fault(request, relay.send)
                    if relay.fault
                    else relay.send(request)
                )
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    if name.lower() not in HOP | {"content-length"}:
                        self.send_header(name, value)
                if request.method == "HEAD":
                    stated = answer.headers.get("Content-Length", "0")
                else:
                    stated = str(relay.states_length(request, answer))
                self.send_header("Content-Length", stated)
                self.end_headers()
                if request.method != "HEAD":
                    self.wfile.write(answer.body)
                if int(stated) > len(answer.body):
                    self.close_connection = True

            do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = serve

            def handle_one_request(self) -> None:
                try:
                    super().handle_one_request()
                except ConnectionError:
                    self.close_connection = True

            def log_message(self, *about: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        if tls:
            self.scheme = "https"
            self.server.socket = tls.wrap_socket(self.server.socket, server_side=True)
        threading.Thread(
            target=self.server.serve_forever, args=(0.01,), daemon=True
        ).start()

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.server.server_port}"

    def send(self, request: Request) -> Answer:
        connection = http.client.HTTPConnection(*self.target, timeout=30)
        headers = {
            name: value
            for name, value in request.headers.items()
            if name.lower() not in HOP | {"content-length"}
        }
        headers["Content-Length"] = str(len(request.body))
        headers["Host"] = request.headers.get("Host", "")
        connection.request(request.method, request.path, request.body, headers)
        answer = connection.getresponse()
        found = Answer(answer.status, dict(answer.getheaders()), answer.read())
        connection.close()
        return found

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()


def start_moto() -> ThreadedMotoServer:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    return server
