"""The supervisor: it starts the processes in order, restarts them, and stops them in reverse.

``stack`` says which processes. Each of them ends when the supervisor does, whatever ends it
(see ``istore.lifeline``).
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import FrameType
from typing import Any

from django.conf import settings

from istore import fork_server
from istore.child_process import Child, Journal, stop
from istore.home import Home
from istore.service_user import ServiceUser
from supervisor.embedded import make_run_directory
from supervisor.home_lock import AlreadyRunning, alone

TICK_SECONDS = 0.05
READY_SECONDS = 120
FAILURES_ALLOWED = 3
# Groups stop one after the other. A whole stop takes below ten seconds, unless the
# database still has much to write; it gets that time.
STOP_ORDER = (
    ("web", "proxy", "demo"),
    ("listener", "beat", "worker", "exporter", "sessions"),
    ("redis",),
    ("postgres",),
)


def kind_of(child: Child) -> str:
    """Return the name that a process has in ``STOP_ORDER``: ``proxy`` of ``proxy-2``."""
    return child.name.partition("-")[0]


class Failed(Exception):
    """The store cannot run; the message is one line that says why."""


class Stopping(BaseException):
    """A signal asked the supervisor to stop."""


@dataclass
class Supervisor:
    """The parent of all processes of one home.

    ``announce`` prints a line for the operator; ``echo`` also prints the children's output.
    """

    home: Home
    announce: Callable[[str], None]
    echo: bool = True
    children: dict[str, Child] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=lambda: dict(os.environ))
    is_ready: bool = False
    signals: int = 0
    is_interruptible: bool = False
    servers_lock: int = -1
    fork_server: tuple[int, int] | None = None  # its process id, and its socket

    def run(
        self,
        start_everything: Callable[[Supervisor], None],
        when_ready: Callable[[], None],
    ) -> None:
        """Run until a signal asks for a stop and all processes have ended. Raises ``Failed``."""
        make_run_directory(self.home, self.user)
        try:
            with alone(self.home) as self.servers_lock:
                for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                    signal.signal(number, self._on_signal)
                self._run_alone(start_everything, when_ready)
        except AlreadyRunning as error:
            raise Failed(str(error)) from None

    def _run_alone(
        self,
        start_everything: Callable[[Supervisor], None],
        when_ready: Callable[[], None],
    ) -> None:
        try:
            start_everything(self)
            self.is_ready = True
            when_ready()
            while True:
                self.tick()
        except Stopping:
            self.journal.write("up", "stopping")
        finally:
            self._stop_everything()

    # -- called by the code that starts the processes

    def start_fork_server(self, preload: Callable[[], object]) -> None:
        """Start what later Python processes are forked from; before any thread or connection."""
        if sys.platform == "linux":
            self.fork_server = fork_server.start(preload, own_session=True)

    def start(self, name: str, argv: Sequence[str | Path], **given: Any) -> Child:
        """Start a process; it is restarted whenever it ends, unless ``once``."""
        options = {"env": self.environment, "cwd": settings.BASE_DIR, **given}
        if self.fork_server and argv[0] == sys.executable:
            options.setdefault("fork_server", self.fork_server[1])
        return self.add(Child(name, argv, self.journal, **options))

    def add(self, child: Child) -> Child:
        """Start a process, as ``start`` does."""
        self.children[child.name] = child
        child.start()
        return child

    def wait(
        self, happened: Callable[[], bool], name: str, seconds: float = READY_SECONDS
    ) -> None:
        """Watch the processes until ``happened`` returns True.

        Raises ``Failed`` after ``seconds``; the child's last lines say why.
        """
        deadline = time.monotonic() + seconds
        while not happened():
            self.tick()
            if time.monotonic() > deadline:
                why = f"it was not ready after {seconds:.0f} seconds"
                raise self.failure(self.children[name], why)

    def finish(self, child: Child, otherwise: str, seconds: float) -> list[str]:
        """Wait for a process that is meant to end, and return its last lines. Raises ``Failed``."""
        self.wait(lambda: child.status is not None, child.name, seconds)
        child.kill()  # this also reads its output to the end
        if child.status != 0:
            raise self.failure(child, otherwise)
        return list(child.last_lines)

    def failure(self, child: Child, why: str) -> Failed:
        """Return the exception for a failed child.

        Its last lines are announced first, unless the output was echoed anyway.
        """
        if not self.echo:
            for line in child.last_lines:
                self.announce(f"{child.name:>8} | {line}")
        return Failed(f"{child.name}: {why}. See {self.log_path}")

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """Let a signal interrupt the block at once; for long work of the supervisor itself."""
        self.is_interruptible = True
        try:
            yield
        finally:
            self.is_interruptible = False
        if self.signals:
            raise Stopping

    def tick(self) -> None:
        """Watch once: restart what has ended, or raise ``Failed`` or ``Stopping``."""
        if self.signals:
            raise Stopping
        for child in list(self.children.values()):
            if child.is_due:
                child.start()
            elif child.status is not None and not child.once:
                self._ended(child)
        time.sleep(TICK_SECONDS)

    # -- internal

    def _ended(self, child: Child) -> None:
        child.note_failure()
        essential = child.name == "postgres" or not self.is_ready
        if essential and child.recent_failures() >= FAILURES_ALLOWED:
            raise self.failure(child, "it ended three times within a minute")

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self.signals += 1
        if self.is_interruptible:
            self.is_interruptible = False
            raise Stopping

    def _stop_everything(self) -> None:
        self.is_interruptible = False
        enough = max(self.signals, 1)  # one more signal ends the waiting
        children = self.children
        once = [child for child in children.values() if child.once]
        groups = [
            [child for child in children.values() if kind_of(child) in kinds]
            for kinds in STOP_ORDER
        ]
        for group in [once, *groups]:
            stop(group, lambda: self.signals > enough)
            if self.fork_server and group is groups[1]:
                fork_server.stop(self.fork_server[0])
        self.journal.close()

    @cached_property
    def user(self) -> ServiceUser:
        """The user that the embedded servers run as."""
        return ServiceUser.for_home(self.home.root)

    @property
    def log_path(self) -> Path:
        """The log file of all processes."""
        return self.home.root / "log" / "up.log"

    @cached_property
    def journal(self) -> Journal:
        """The writer of the log file."""
        return Journal(self.log_path, echo=self.echo)
