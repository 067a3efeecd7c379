"""A Valkey that stalls half-way through a reply, or answers something else."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from urllib.parse import unquote, urlsplit

# What to send instead of a reply to this command, and whether to go silent then.
Fault = Callable[[bytes, bytes], tuple[bytes, bool]]


class Relay:
    """Stands before a server. ``fault`` None passes all on."""

    def __init__(self, url: str) -> None:
        self.server = urlsplit(url)
        self.fault: Fault | None = None
        self.met: list[bytes] = []
        self.connections = 0
        self._listening = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        host, port = self._listening.getsockname()
        if self.server.scheme == "unix":
            return f"redis://{host}:{port}/?{self.server.query}"
        user, at, _ = self.server.netloc.rpartition("@")
        return self.server._replace(netloc=f"{user}{at}{host}:{port}").geturl()

    def stop(self) -> None:
        self._listening.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                self.connections += 1
                threading.Thread(
                    target=self._carry, args=(client,), daemon=True
                ).start()

    def _carry(self, client: socket.socket) -> None:
        with suppress(OSError), self._connect() as server, client:
            while asked := client.recv(2**20):
                server.sendall(asked)
                reply = server.recv(2**20)
                name = command_of(asked)
                is_silent = False
                if self.fault:
                    self.met.append(name)
                    reply, is_silent = self.fault(name, reply)
                client.sendall(reply)
                if is_silent:
                    while client.recv(2**16):  # it stays open, and says no more
                        pass
                    return

    def _connect(self) -> socket.socket:
        if self.server.scheme != "unix":
            return socket.create_connection((self.server.hostname, self.server.port))
        server = socket.socket(socket.AF_UNIX)
        server.connect(unquote(self.server.path))
        return server


def command_of(asked: bytes) -> bytes:
    parts = asked.split(b"\r\n")
    return parts[2].upper() if len(parts) > 2 else b""
