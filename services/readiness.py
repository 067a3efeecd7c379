"""Probe whether a server is ready: the status of a GET, and nothing else of its response.

A registered server is not trusted. The probe connects to the address that was checked, and
ends after its timeout, whatever the server sends.
"""

from __future__ import annotations

import re
import socket
import ssl
import time
from contextlib import suppress
from urllib.parse import urlsplit

from istore.upstreams import PORTS, allowed_address

SECONDS = 3.0
LINE_BYTES = 1024
STATUS_LINE = re.compile(rb"HTTP/1\.[01] ([1-5][0-9]{2})(?: |\r?$)")


def status_of(url: str, seconds: float = SECONDS, *, ours: bool = False) -> int | None:
    """Return the HTTP status of the URL, or None without a response within ``seconds``.

    ``ours`` is True for a server that this store started itself.
    """
    deadline = time.monotonic() + seconds
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or PORTS[parts.scheme]
    path = parts.path or "/"
    path += f"?{parts.query}" if parts.query else ""
    request = (
        f"GET {path} HTTP/1.1\r\nHost: {parts.netloc}\r\nConnection: close\r\n\r\n"
    )
    with suppress(OSError, UnicodeError, ValueError):
        for address in _addresses(host, port):
            if not ours and not allowed_address(address, host, port):
                continue
            with _connect(address, port, deadline) as found:
                server = _secure(found, host) if parts.scheme == "https" else found
                server.sendall(request.encode("ascii"))
                return _status(server, deadline)
    return None


def _addresses(host: str, port: int) -> list[str]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(each[4][0]) for each in found))


def _connect(address: str, port: int, deadline: float) -> socket.socket:
    return socket.create_connection((address, port), _left(deadline))


def _secure(found: socket.socket, host: str) -> socket.socket:
    return ssl.create_default_context().wrap_socket(found, server_hostname=host)


def _status(server: socket.socket, deadline: float) -> int | None:
    line = b""
    while b"\n" not in line and len(line) < LINE_BYTES:
        server.settimeout(_left(deadline))
        piece = server.recv(LINE_BYTES)
        if not piece:
            break
        line += piece
    found = STATUS_LINE.match(line.partition(b"\n")[0])
    return int(found[1]) if found else None


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left
