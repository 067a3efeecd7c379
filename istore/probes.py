"""Probes: whether a server answers, and whether a port is free."""

from __future__ import annotations

import http.client
import socket
from contextlib import closing

from django.conf import settings

ANSWER_SECONDS = 5
WORKER_ANSWER_SECONDS = 0.5
UNSPECIFIED = {"0.0.0.0": "127.0.0.1", "::": "::1"}


def answers_ok(host: str, port: int, path: str) -> bool:
    """Return whether a GET is answered with 200."""
    connection = http.client.HTTPConnection(
        UNSPECIFIED.get(host, host), port, timeout=ANSWER_SECONDS
    )
    with closing(connection):
        try:
            connection.request("GET", path, headers={"Host": _allowed_host()})
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False


def _allowed_host() -> str:
    """Return a host name that Django accepts."""
    names = [name.lstrip(".") for name in settings.ALLOWED_HOSTS if name != "*"]
    return names[0] if names else "localhost"


def worker_answers(name: str) -> bool:
    """Return whether the Celery worker of this name answers a ping."""
    from istore.celery import app

    replies = app.control.broadcast(
        "ping",
        reply=True,
        destination=[name],
        timeout=WORKER_ANSWER_SECONDS,
        limit=1,
    )
    return bool(replies)


def in_the_way(host: str, port: int) -> str:
    """Return why nothing can listen on the port, or "" if it is free.

    It binds without SO_REUSEPORT, which would admit a second server on the port.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM
        )[0]
        with socket.socket(family, kind, protocol) as found:
            found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            found.bind(address)
            found.listen(1)
    except OSError as error:
        return (error.strerror or str(error)).lower()
    return ""


def free_port(wanted: int) -> int:
    """Return this port of the loopback interface, or another if it is taken."""
    if not in_the_way("127.0.0.1", wanted):
        return wanted
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
    return port
