"""The lock of a home: one supervisor at a time, and a way to stop it.

The embedded servers inherit a second lock. After a supervisor was killed, the next one waits
until that lock is free, because two databases must never run on one directory.
"""

from __future__ import annotations

import fcntl
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import TextIOWrapper

from istore.home import Home

LAST_SERVERS_SECONDS = 90
STOP_SECONDS = 90
POLL_SECONDS = 0.05


class AlreadyRunning(Exception):
    """Another supervisor has the home; the message is one line for the operator."""


class NotStopping(Exception):
    """The supervisor was asked to stop and has not; the message is one line for the operator."""


@contextmanager
def alone(home: Home) -> Iterator[int]:
    """Hold the lock of the home, and yield the descriptor that the servers inherit.

    Raises ``AlreadyRunning``.
    """
    with open(home.run / "lock", "a+") as lock:
        if not _try_lock(lock):
            raise AlreadyRunning(
                f"ISTORE_HOME: the store in {home.root} is already running "
                f"(process {running_process(home)}); manage.py up --stop stops it."
            )
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        with open(home.run / "servers.lock", "a") as servers:
            deadline = time.monotonic() + LAST_SERVERS_SECONDS
            while not _try_lock(servers):
                if time.monotonic() > deadline:
                    raise AlreadyRunning(
                        f"ISTORE_HOME: servers of the last run of the store in "
                        f"{home.root} have not ended."
                    )
                time.sleep(POLL_SECONDS)
            yield servers.fileno()


def running_process(home: Home) -> int | None:
    """Return the process id of this home's supervisor, or None."""
    try:
        with open(home.run / "lock") as lock:
            if not _try_lock(lock, fcntl.LOCK_SH):
                return int(lock.read().strip() or 0) or None
    except FileNotFoundError:
        pass
    return None


def stop_running(home: Home) -> bool:
    """Stop this home's supervisor and wait for its end. Return False if there is none.

    Raises ``NotStopping`` after ``STOP_SECONDS``.
    """
    process = running_process(home)
    if process is None:
        return False
    with suppress(ProcessLookupError):
        os.kill(process, signal.SIGTERM)
    deadline = time.monotonic() + STOP_SECONDS
    while running_process(home) == process:
        if time.monotonic() > deadline:
            raise NotStopping(f"Process {process} has not ended in {STOP_SECONDS} s.")
        time.sleep(POLL_SECONDS)
    return True


def _try_lock(file: TextIOWrapper, how: int = fcntl.LOCK_EX) -> bool:
    try:
        fcntl.flock(file, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
