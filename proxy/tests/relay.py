"""A database that can be cut off from one process: a relay in front of its socket."""

from __future__ import annotations

import shutil
import socket
import tempfile
import threading
from contextlib import suppress
from pathlib import Path

NAME = ".s.PGSQL.5432"


class Relay:
    """Passes bytes on between a socket of its own and the database's.

    ``cut`` ends the connections and refuses new ones; ``hold`` leaves them open and
    passes nothing on, as a network does that drops packets.
    """

    def __init__(self, directory: str) -> None:
        self._target = str(Path(directory, NAME))
        self.directory = Path(tempfile.mkdtemp(prefix="relay-"))
        self._sockets: list[socket.socket] = []
        self._passing = threading.Event()
        self._passing.set()
        self.mend()

    def mend(self) -> None:
        self._passing.set()
        path = self.directory / NAME
        path.unlink(missing_ok=True)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen(64)
        threading.Thread(
            target=self._accept, args=[self._listener], daemon=True
        ).start()

    def cut(self) -> None:
        (self.directory / NAME).unlink(missing_ok=True)
        _end(self._listener)
        for each in self._sockets:
            _end(each)
        self._sockets.clear()

    def hold(self) -> None:
        self._passing.clear()

    def let_go(self) -> None:
        self._passing.set()

    def remove(self) -> None:
        self._passing.set()
        self.cut()
        shutil.rmtree(self.directory)

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                database = socket.socket(socket.AF_UNIX)
                database.connect(self._target)
                self._sockets += [client, database]
                for pair in ((client, database), (database, client)):
                    threading.Thread(target=self._pass, args=pair, daemon=True).start()

    def _pass(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while piece := source.recv(65536):
                self._passing.wait()
                target.sendall(piece)
        _end(source)
        _end(target)


def _end(connection: socket.socket) -> None:
    """A thread that waits in it sees that at once; closing alone would not tell it."""
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()
