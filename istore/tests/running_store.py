"""A store of its own for the tests of the supervisor: ``manage.py up`` in a fresh home."""

from __future__ import annotations

import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from django.conf import settings

READY = "Inference proxy is ready"


class RunningStore:
    """A home, two free ports, and the commands on them."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.port, self.proxy_port = free_ports(2)
        outside = {k: v for k, v in os.environ.items() if not k.startswith("ISTORE_")}
        self.env = {
            **outside,
            "ISTORE_HOME": str(home),
            "ISTORE_PORT": str(self.port),
            "ISTORE_PROXY_PORT": str(self.proxy_port),
        }

    def command(self, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
        """``manage.py`` with these arguments, to its end."""
        argv = [sys.executable, "manage.py", *arguments]
        return subprocess.run(
            argv,
            cwd=settings.BASE_DIR,
            env={**self.env, **env},
            capture_output=True,
            text=True,
            timeout=120,
        )

    @contextmanager
    def up(self) -> Iterator[Foreground]:
        """``manage.py up`` in the foreground, ready."""
        argv = [sys.executable, "manage.py", "up"]
        process = subprocess.Popen(
            argv,
            cwd=settings.BASE_DIR,
            env=self.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        found = Foreground(process)
        try:
            found.wait_for(READY)
            yield found
        finally:
            process.kill()
            process.wait()

    def log(self) -> str:
        return Path(self.home, "log", "up.log").read_text()

    def supervisor(self) -> int:
        return int(Path(self.home, "run", "lock").read_text())

    def answers(self, path: str = "/health/ready") -> bool:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", path)
            return connection.getresponse().status == 200
        except (OSError, HTTPException):
            return False
        finally:
            connection.close()


class Foreground:
    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: list[str] = []
        self.fresh: queue.Queue[str | None] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        with self.process.stdout as lines:
            for line in lines:
                self.lines.append(line)
                self.fresh.put(line)
        self.fresh.put(None)

    def wait_for(self, words: str, seconds: float = 90) -> str:
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            line = self.fresh.get(timeout=left)
            assert line is not None, "it ended:\n" + "".join(self.lines[-30:])
            if words in line:
                return line
        raise AssertionError(f"never said {words!r}:\n" + "".join(self.lines[-30:]))

    def interrupt(self) -> float:
        """Ctrl-C; the seconds until the process has ended."""
        began = time.monotonic()
        self.process.send_signal(signal.SIGINT)
        self.process.wait(60)
        return time.monotonic() - began


def free_ports(count: int) -> list[int]:
    found = [socket.socket() for _ in range(count)]
    for one in found:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in found]
    for one in found:
        one.close()
    return ports


def processes() -> dict[int, tuple[int, str]]:
    """Parent and command line of every process that is alive."""
    found = {}
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            stat = (directory / "stat").read_text().rpartition(")")[2].split()
            line = (directory / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except (OSError, UnicodeDecodeError):
            continue
        if stat[0] not in "ZX":
            found[int(directory.name)] = int(stat[1]), line
    return found


def descendants(root: int) -> set[int]:
    everyone = processes()
    found, more = set(), {root}
    while more:
        found |= more
        more = {pid for pid, (parent, _) in everyone.items() if parent in more} - found
    return found - {root}


def children_named(root: int, words: str) -> list[int]:
    """The processes below ``root``, or below its fork server, with these words in their lines."""
    everyone = processes()
    parents = {root} | {
        pid
        for pid, (parent, line) in everyone.items()
        if parent == root and line.startswith("istore fork server")
    }
    return [
        pid
        for pid, (parent, line) in everyone.items()
        if parent in parents and words in line
    ]


def wait_until(happens, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not happens():
        assert time.monotonic() < deadline, f"not within {seconds} seconds"
        time.sleep(0.05)
