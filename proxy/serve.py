"""The process of the proxy: the open inference protocol in front of model servers.

``python -m proxy.serve --host 127.0.0.1 --port 8001``. It stands beside Django's request cycle,
not in it, and shares settings, models and tokens with it. ``--socket`` is the number of an
inherited socket that listens already, as the supervisor passes one: calls wait in it while the
process is started again. Without the supervisor it has a fork server of its own, for capture.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import signal
import socket
import sys
from importlib import import_module

import django
import uvloop

from istore import fork_server
from istore.sockets import listen

EMPTY_LOOK_SECONDS = 0.1


async def serve(given: argparse.Namespace) -> None:
    """Answer calls until SIGTERM or SIGINT comes, and those that came before to their end."""
    from django.conf import settings

    from istore.telemetry import metrics, startup
    from proxy.app import Application
    from proxy.http.server import Server
    from proxy.inference_handler import Proxy
    from proxy.spool.writer import size_of

    loop, stopping = asyncio.get_running_loop(), asyncio.Event()
    hurried = asyncio.Event()  # after a second signal
    application = Application(Proxy())

    def drain() -> None:
        """Refuse readiness, and stop a little later; a second signal does not wait."""
        if application.is_draining:
            hurried.set()
        if application.is_draining or not settings.ISTORE_DRAIN_SECONDS:
            stopping.set()
        application.is_draining = True
        loop.call_later(settings.ISTORE_DRAIN_SECONDS, stopping.set)

    for sent in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(sent, drain)
    server = Server(application)
    # The objects made so far stay for ever. Frozen, they are no longer scanned by garbage
    # collections, for which calls would have to wait.
    gc.collect()
    gc.freeze()
    # Calls leave few cycles, and a call in flight is a few hundred objects.
    gc.set_threshold(50_000, 20, 100)
    startup.begin(
        metrics.PROXY,
        number=given.number,
        is_one_of_several=given.number is not None,
    )
    await server.run(socket_of(given), stopping, settings.ISTORE_GRACE_SECONDS)
    until = loop.time() + settings.ISTORE_DRAIN_SPOOL_SECONDS
    while (
        not hurried.is_set()
        and loop.time() < until
        and size_of(settings.ISTORE_SPOOL_DIR)
    ):
        await asyncio.sleep(EMPTY_LOOK_SECONDS)
    startup.end()


def socket_of(given: argparse.Namespace) -> socket.socket:
    """Return the socket that was inherited, or one that listens from now on."""
    if given.socket is None:
        return listen(given.host, given.port)
    os.set_inheritable(given.socket, False)
    return socket.socket(fileno=given.socket)


def start_fork_server() -> None:
    """Start what the capture process is forked from, unless the supervisor has one."""
    import_module("proxy.inference_handler")
    _, number = fork_server.start(lambda: import_module("proxy.capture.worker"))
    os.environ[fork_server.VARIABLE] = str(number)


def main() -> None:
    """Run the process."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8001)
    parser.add_argument("--socket", type=int, metavar="NUMBER")
    parser.add_argument("--number", type=int, help="of several, from 0 on")
    given = parser.parse_args()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "istore.settings")
    django.setup()
    if sys.platform == "linux" and fork_server.VARIABLE not in os.environ:
        start_fork_server()
    uvloop.run(serve(given))


if __name__ == "__main__":
    main()
