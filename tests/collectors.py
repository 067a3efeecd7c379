"""Stand-ins for a collector of OTLP and for Sentry's server, over real HTTP."""

from __future__ import annotations

import gzip
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import import_module

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
)


class Collector(ThreadingHTTPServer):
    """Takes whatever is posted, and keeps it: ``with Collector() as collector``."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.received: list[tuple[str, bytes]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def dsn(self) -> str:
        return f"http://publickey@127.0.0.1:{self.server_port}/7"

    def __enter__(self) -> Collector:
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()

    @property
    def bytes(self) -> bytes:
        return b"\n".join(body for _, body in self.received)

    def spans(self) -> list:
        found = []
        for path, body in self.received:
            if path != "/v1/traces":
                continue
            request = ExportTraceServiceRequest.FromString(body)
            for resource in request.resource_spans:
                for scope in resource.scope_spans:
                    found += scope.spans
        return found

    def reports(self) -> list[dict]:
        found = []
        for path, body in self.received:
            if path.endswith("/envelope/"):
                lines = body.split(b"\n")
                found += [
                    json.loads(payload)
                    for head, payload in zip(lines[1::2], lines[2::2], strict=False)
                    if json.loads(head)["type"] == "event"
                ]
        return found

    def wait_for(self, happens, seconds: float = 20) -> None:
        end = time.monotonic() + seconds
        while not happens():
            assert time.monotonic() < end, [path for path, _ in self.received]
            time.sleep(0.05)


class Handler(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        encoding = self.headers.get("Content-Encoding")
        if encoding == "gzip":
            body = gzip.decompress(body)
        elif encoding == "br":  # Sentry's client prefers it where it is installed
            body = import_module("brotli").decompress(body)
        self.server.received.append((self.path, body))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass
