"""Child processes of a running store: start, read the output, watch, start again, stop.

Who has a loop of its own, as the supervisor has, starts each child that ``is_due`` and calls
``note_failure`` for each that ended; ``keep_running`` is that loop for one child. (The workers that
parse bodies and decode pictures answer calls and are replaced by the next call, so they are none
of these.)
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import IO, NoReturn

from istore.fork_server import ForkedProcess
from istore.lifeline import follow_parent

LOG_BYTES, LOG_FILES = 16 * 1024**2, 3
LONGEST_PAUSE = 30.0
# Failures older than this do not count for the pause.
MEMORY_SECONDS = 60

log = logging.getLogger(__name__)


class Journal:
    """A rotating log file of all processes' output, line by line."""

    def __init__(self, path: Path, *, echo: bool) -> None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        keeper = RotatingFileHandler(
            path, maxBytes=LOG_BYTES, backupCount=LOG_FILES, encoding="utf-8"
        )
        keeper.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
        self._keeper, self._echo = keeper, echo

    def write(self, name: str, line: str) -> None:
        text = f"{name:>8} | {line}"
        record = logging.LogRecord("up", logging.INFO, "", 0, text, None, None)
        self._keeper.handle(record)
        if self._echo:
            with suppress(OSError):  # the reader of our output has gone
                print(text, flush=True)

    def close(self) -> None:
        self._keeper.close()


@dataclass
class Child:
    """One process that should be running, with its recent failures and its last lines."""

    name: str
    argv: Sequence[str | Path]
    journal: Journal | None  # None: its output is ours, and its end is logged
    env: Mapping[str, str] | None = None
    cwd: Path | str | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    grace_seconds: float = 3
    first_pause: float = 0.5  # seconds before a restart; it doubles with each failure
    become: Callable[[], None] | None = follow_parent
    inherited: Sequence[int] = ()
    own_session: bool = True  # so that ``kill`` also reaches what it started
    is_held: bool = False  # its standard input is a pipe that closes when we end
    once: bool = False  # it is meant to end, and is not restarted
    longest_pause: float = LONGEST_PAUSE  # seconds before it is started again
    nice: int = 0
    fork_server: int | None = None  # its socket, for a Python program of the store
    process: subprocess.Popen[bytes] | ForkedProcess | None = None
    reader: threading.Thread | None = None
    start_at: float = 0.0
    failures: deque[float] = field(default_factory=lambda: deque(maxlen=10))
    last_lines: deque[str] = field(default_factory=lambda: deque(maxlen=12))

    def start(self) -> None:
        """Start the process. Call it in the main thread: the child dies with the calling thread."""
        output = -1
        if self.journal is not None:
            reading, output = os.pipe()
            self.reader = threading.Thread(
                target=self._read,
                args=(open(reading, "rb"),),  # noqa: SIM115 _read closes it
                daemon=True,
            )
            self.reader.start()
        try:
            self.process = self._forked(output) or self._executed(output)
        finally:
            if output >= 0:
                os.close(output)

    def _forked(self, output: int) -> ForkedProcess | None:
        """Have the fork server start the process; None if there is none, or none any more."""
        if self.fork_server is None:
            return None
        reading, writing = os.pipe() if self.is_held else (_null(), -1)
        try:
            process = ForkedProcess(
                self.fork_server,
                [os.fspath(part) for part in self.argv[1:]],
                env=os.environ if self.env is None else self.env,
                cwd=os.fspath(self.cwd or os.getcwd()),
                streams=(reading, *((1, 2) if output < 0 else (output, output))),
                inherited=self.inherited,
                own_group=self.own_session,
                follows=self.become is not None,
                nice=self.nice,
            )
        except OSError as error:
            if writing >= 0:
                os.close(writing)
            self.report(f"is started without the fork server: {error}")
            return None
        finally:
            os.close(reading)
        if writing >= 0:
            process.stdin = open(writing, "wb")  # noqa: SIM115 see kill
        return process

    def _executed(self, output: int) -> subprocess.Popen[bytes]:
        nice = ["nice", "-n", str(self.nice)] if self.nice else []
        return subprocess.Popen(
            [*nice, *(os.fspath(part) for part in self.argv)],
            cwd=self.cwd,
            env=None if self.env is None else dict(self.env),
            stdin=subprocess.PIPE if self.is_held else subprocess.DEVNULL,
            stdout=None if output < 0 else output,
            stderr=None if output < 0 else subprocess.STDOUT,
            start_new_session=self.own_session,
            preexec_fn=self.become,
            pass_fds=tuple(self.inherited),
        )

    def _read(self, output: IO[bytes]) -> None:
        with output as lines:
            for line in lines:
                text = line.decode(errors="replace").rstrip()
                self.last_lines.append(text)
                self.report(text)

    def report(self, text: str) -> None:
        """Write a line about the process to the journal, or to the log without one."""
        if self.journal is None:
            log.error("%s %s", self.name, text)
        else:
            self.journal.write(self.name, text)

    @property
    def status(self) -> int | None:
        """The exit status once the process has ended, else None."""
        return self.process.poll() if self.process else None

    @property
    def runs(self) -> bool:
        """Whether the process was started and has not ended."""
        return self.process is not None and self.process.poll() is None

    @property
    def is_due(self) -> bool:
        """Whether the process does not run, and the pause after its last end is over."""
        return self.process is None and time.monotonic() >= self.start_at

    def note_failure(self) -> None:
        """Clean up after a process that ended by itself, and set when to start it again.

        The pause doubles with each recent failure, up to ``longest_pause``.
        """
        self.report(f"ended with exit status {self.status}")
        self.kill()
        now = time.monotonic()
        self.failures.append(now)
        pause = self.first_pause * 2 ** (self.recent_failures() - 1)
        self.process, self.start_at = None, now + min(pause, self.longest_pause)

    def recent_failures(self) -> int:
        """Return the number of failures within ``MEMORY_SECONDS``."""
        horizon = time.monotonic() - MEMORY_SECONDS
        return sum(moment > horizon for moment in self.failures)

    def ask_to_stop(self) -> None:
        """Send the stop signal if the process runs."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(self.stop_signal)

    def kill(self) -> None:
        """Kill the process and everything it started in its session."""
        if self.process is None:
            return
        if self.own_session:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, signal.SIGKILL)
        else:
            self.process.kill()
        self.process.wait()
        if self.process.stdin:
            self.process.stdin.close()
        if self.reader is not None:
            self.reader.join(1)


def _null() -> int:
    return os.open(os.devnull, os.O_RDONLY)


def keep_running(child: Child) -> NoReturn:
    """Run the child for ever: start it again whenever it ends. For a thread of its own."""
    while True:
        if child.is_due:
            child.start()
        if child.process is not None:
            child.process.wait()
            child.note_failure()
        time.sleep(max(0.0, child.start_at - time.monotonic()))


def stop(children: Sequence[Child], hurried: Callable[[], bool]) -> None:
    """Stop the children together. A child that outlasts its grace period is killed.

    ``hurried`` returns True once somebody wants no more waiting; then all are killed.
    """
    for child in children:
        child.ask_to_stop()
    began = time.monotonic()
    while running := [child for child in children if child.runs]:
        waited = time.monotonic() - began
        for child in running:
            if waited > child.grace_seconds or hurried():
                child.report("did not stop in time and is killed")
                child.kill()
        time.sleep(0.02)
    for child in children:
        child.kill()
