"""Programs of the store in processes of their own, which may be killed.

They are forked from a process that has imported the store with the same environment: what a test
starts many times is imported once.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from django.conf import settings

from istore.fork_server import ForkedProcess

SECONDS = 60
SERVER = """
import socket, sys
from importlib import import_module
import django
django.setup()
from istore import fork_server
requests = socket.socket(fileno=int(sys.argv[1]))
fork_server.serve(requests, lambda: [import_module(name) for name in sys.argv[2:]])
"""


class Program(ForkedProcess):
    def ends(self, seconds: float = SECONDS) -> int:
        """The exit status, which comes within this time."""
        deadline = time.monotonic() + seconds
        while (status := self.poll()) is None:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        return status

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)


class Programs:
    """Starts programs, which end with the block that made it."""

    def __init__(self, number: int, environment: dict[str, str]) -> None:
        self._socket, self._environment = number, environment

    def start(self, code: str, failpoints: str = "") -> Program:
        """Run the code with these failpoints."""
        argv = ["-m", "istore.tests.forked_programs", failpoints, code]
        with open(os.devnull, "r+") as null:
            return Program(
                self._socket,
                argv,
                env=self._environment,
                cwd=str(settings.BASE_DIR),
                streams=(null.fileno(), 1, 2),
            )


@contextmanager
def forked_programs(*modules: str, **environment: str) -> Iterator[Programs]:
    """Give programs that have these modules, in an environment with these variables."""
    ours, theirs = socket.socketpair(type=socket.SOCK_SEQPACKET)
    number, environment = theirs.fileno(), {**os.environ, **environment}
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER, str(number), *modules],
        cwd=settings.BASE_DIR,
        env=environment,
        pass_fds=[number],
    )
    theirs.close()
    with ours, server:
        yield Programs(ours.fileno(), environment)
        server.kill()


if __name__ == "__main__":
    from istore import failpoints

    failpoints.arm(sys.argv[1])
    exec(sys.argv[2])
