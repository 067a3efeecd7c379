"""Sockets that listen."""

from __future__ import annotations

import socket

BACKLOG = 1024  # connections that wait to be accepted


def listen(host: str, port: int, *, is_shared: bool = False) -> socket.socket:
    """Return a socket that listens. A port that is shared may have several of them."""
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM
    )[0]
    found = socket.socket(family, kind, protocol)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        if is_shared:
            found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        found.bind(address)
        found.listen(BACKLOG)
    except OSError:
        found.close()
        raise
    return found
