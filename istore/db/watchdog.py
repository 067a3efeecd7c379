"""Cut connections whose server does not answer a statement in time.

A statement timeout is kept by the server. One that hangs, or a host that is gone without a word,
keeps none, and the client would wait for as long as TCP does.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psycopg
from django.db import connection

LOOK_SECONDS = 0.1


class Watchdog:
    """Watches statements of all threads of this process, in one thread that starts when needed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._watched: dict[
            int, tuple[float, int]
        ] = {}  # by thread: until when, and the socket
        self._thread: threading.Thread | None = None

    @contextmanager
    def limit(self, seconds: float) -> Iterator[None]:
        """Cut this thread's connection, if it is open, when the block takes longer."""
        raw = connection.connection
        if raw is None or raw.closed:
            yield
            return
        thread = threading.get_ident()
        with self._lock:
            self._watched[thread] = (time.monotonic() + seconds, raw.fileno())
            self._start()
        try:
            yield
        finally:
            with self._lock:
                self._watched.pop(thread, None)

    def _start(self) -> None:
        if self._thread is None or not self._thread.is_alive():  # or after a fork
            self._thread = threading.Thread(
                target=self._look, name="watchdog", daemon=True
            )
            self._thread.start()

    def _look(self) -> None:
        while True:
            time.sleep(LOOK_SECONDS)
            now = time.monotonic()
            with self._lock:
                if not self._watched:
                    self._thread = None
                    return
                late = [
                    each for each, (until, _) in self._watched.items() if until < now
                ]
                for thread in late:
                    _, descriptor = self._watched.pop(thread)
                    # Under the lock: the block has not ended, so the descriptor is still its own.
                    with (
                        suppress(OSError, psycopg.Error),
                        socket.socket(fileno=os.dup(descriptor)) as end,
                    ):
                        end.shutdown(socket.SHUT_RDWR)
