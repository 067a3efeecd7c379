"""The process of the proxy: the open inference protocol in front of model servers.

``python -m proxy.serve --host 127.0.0.1 --port 8001``. It stands beside Django's request cycle,
not in it, and shares settings, models and tokens with it. ``--socket`` is the number of an
inherited socket that listens already, as the supervisor passes one: calls wait in it while the
process is started again.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import signal
import socket

import django
import uvloop

GRACE_SECONDS = 3.0  # for calls in flight, after a signal to stop
BACKLOG = 1024  # connections that wait to be accepted


def listen(host: str, port: int, *, is_shared: bool = False) -> socket.socket:
    """Return a socket that listens. Several processes may have one on a port that is shared."""
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM
    )[0]
    listener = socket.socket(family, kind, protocol)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if is_shared:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    listener.bind(address)
    listener.listen(BACKLOG)
    return listener


async def serve(listener: socket.socket) -> None:
    """Answer calls until SIGTERM or SIGINT comes."""
    from proxy.app import Application
    from proxy.http.server import Server
    from proxy.inference_handler import Proxy

    loop, stopping = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    server = Server(Application(Proxy()))
    # The objects made so far stay for ever. Frozen, they are no longer scanned by garbage
    # collections, for which calls would have to wait.
    gc.collect()
    gc.freeze()
    await server.run(listener, stopping, GRACE_SECONDS)


def main() -> None:
    """Run the process."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8001)
    parser.add_argument("--socket", type=int, metavar="NUMBER")
    given = parser.parse_args()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "istore.settings")
    django.setup()
    if given.socket is None:
        listener = listen(given.host, given.port)
    else:
        os.set_inheritable(given.socket, False)
        listener = socket.socket(fileno=given.socket)
    uvloop.run(serve(listener))


if __name__ == "__main__":
    main()
