"""A small server for the tests: ``python answering.py <port> [what it does, …]``.

Standard library alone, so that it starts in no time.
"""

import json
import os
import signal
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PORT, DOES = int(sys.argv[1]), sys.argv[2:]


class Answering(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self._answer(200 if self.path == "/health" else 404, {})

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if "slow" in DOES:
            time.sleep(0.3)
        told = {"pid": os.getpid(), "port": PORT, "asked": json.loads(body or "{}")}
        told["environment"] = sorted(os.environ)
        self._answer(200, told)

    def _answer(self, status, value):
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


if "fails" in DOES:
    sys.exit(3)
if "leaves" in DOES:  # a helper of its own, in a session of its own
    argv = ["sleep", "600"]
    subprocess.Popen(argv, start_new_session=True)
if "stubborn" in DOES:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if "silent" in DOES:
    time.sleep(600)
ThreadingHTTPServer(("127.0.0.1", PORT), Answering).serve_forever()
