"""The runner of processes: starts, watches and stops the replicas of sessions.

The rows are the desired state: live sessions of services that name a command. In each round
the runner makes the processes agree with the rows. So after any crash the next round, or
another runner, continues from the rows. One runner is active per database: the one that
holds the advisory lock. Each replica runs below a guard (``process_guard.py``), which stops
it and all that it started when the runner ends in any way.

A replica that ends is restarted at another port, after a delay that grows each time. One
that is not ready in time is stopped first. A session whose replicas were never ready after
``STARTS_ALLOWED`` starts has failed.
"""

from __future__ import annotations

import logging
import socket
import sys
import threading
import time
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

from django.conf import settings
from django.db import DatabaseError, connection
from django.db.models.functions import Now

from istore import pulse
from istore.child_process import Child, Journal
from istore.db.advisory_lock import AdvisoryLock
from istore.db.other_servers import DIRECT
from services import sessions
from services.models import InferenceSession, Replica, Runner, Status
from services.readiness import status_of
from services.runners import process_guard
from services.runners.commands import BadCommands, Command, listed

RUNNER_LOCK = AdvisoryLock(0x15704F)
LOOK_SECONDS = 0.5
TICK_SECONDS = 0.05
PROBE_SECONDS, READY_PROBE_SECONDS = 0.2, 5.0
ANSWER_SECONDS = 3.0
MISSES_ALLOWED = 3  # failed probes of a replica that was ready
STARTS_ALLOWED = 5  # of the replicas of a session that was never ready
PROBES_AT_ONCE = 16
KEEPER = Path(process_guard.__file__)

log = logging.getLogger(__name__)


@dataclass
class Running:
    """One replica: its process, and the state that probes show."""

    session: InferenceSession
    number: int
    command: Command
    journal: Journal
    child: Child = field(init=False)
    port: int = 0
    starts: int = 0
    is_ready: bool = False
    misses: int = 0
    began_at: float = 0.0
    probe_at: float = 0.0
    stopping_since: float = 0.0
    said: str = ""
    probe: Future[int | None] | None = None

    def __post_init__(self) -> None:
        self.child = Child(
            name=f"{self.session.id.hex}/{self.number}",
            argv=[],
            journal=self.journal,
            cwd=self.command.directory,
            first_pause=settings.ISTORE_PROCESS_RESTART_SECONDS,
            become=None,  # the guard notices our end by its standard input
            is_held=True,
        )

    def start(self) -> None:
        self.port = free_port()
        self.child.argv = [
            sys.executable,
            *("-I", "-S", KEEPER, str(self.command.stop_seconds)),
            *self.command.argv(self.port),
        ]
        self.child.env = self.command.env(self.port)
        self.starts += 1
        self.began_at, self.misses, self.probe_at = time.monotonic(), 0, 0.0
        self.probe = None  # it was for the port of the process before
        try:
            self.child.start()
        except OSError as error:
            self.child.note_failure()
            self.said = f"{error.filename}: {error.strerror}."
        self.tell()

    def ask_to_stop(self) -> None:
        if not self.stopping_since:
            self.stopping_since = time.monotonic()
            self.child.ask_to_stop()

    def has_stopped(self) -> bool:
        """Return whether it has stopped; kill a guard that takes too long, which is unexpected."""
        if self.child.runs:
            patience = self.command.stop_seconds + 2 * process_guard.KILL_SECONDS
            if time.monotonic() - self.stopping_since > patience:
                self.child.kill()
            return False
        self.child.kill()
        return True

    def note_end(self) -> None:
        said = f"It ended with exit status {self.child.status}."
        if self.stopping_since:
            said = f"It was not ready in {self.command.start_seconds:g} seconds."
        self.child.note_failure()
        self.stopping_since = 0.0
        self.note_ready(False, said)

    def note_ready(self, is_ready: bool, said: str = "") -> None:
        if is_ready:
            self.child.failures.clear()
        self.is_ready, self.said = is_ready, said
        self.tell()

    @property
    def is_late(self) -> bool:
        waited = time.monotonic() - self.began_at
        return not self.is_ready and waited > self.command.start_seconds

    def look(self, threads: ThreadPoolExecutor) -> None:
        """Start a probe when one is due, and take the result of the last one."""
        if self.probe is None:
            if time.monotonic() >= self.probe_at:
                base = f"http://127.0.0.1:{self.port}"
                url = base + self.command.dialect.ready_path("")
                self.probe = threads.submit(status_of, url, ANSWER_SECONDS, ours=True)
            return
        if not self.probe.done():
            return
        status, self.probe = self.probe.result(), None
        answers = status is not None and self.command.dialect.means_ready(status)
        self.misses = 0 if answers else self.misses + 1
        if answers and not self.is_ready:
            self.note_ready(True)
        elif self.is_ready and self.misses >= MISSES_ALLOWED:
            self.began_at = time.monotonic()
            self.note_ready(False, "It does not answer any more.")
        pause = READY_PROBE_SECONDS if answers else PROBE_SECONDS
        self.probe_at = time.monotonic() + pause

    def tell(self) -> None:
        """Write the state to the replica's row, which the proxy and pages read."""
        Replica.objects.update_or_create(
            session_id=self.session.pk,
            number=self.number,
            defaults={
                "port": self.port,
                "is_ready": self.is_ready,
                "starts": self.starts,
                "said": self.said[:200],
            },
        )


@dataclass
class RunningSession:
    """A session with its replicas."""

    session: InferenceSession
    replicas: list[Running]
    was_ready: bool = False
    said: Status = Status.CREATED

    def tell(self) -> None:
        """Update the status of the session from the state of its replicas."""
        is_ready = any(each.is_ready for each in self.replicas)
        said = Status.READY if is_ready else Status.ADMITTED
        if said == self.said:
            return
        if is_ready:
            sessions.note_ready(self.session)
            self.was_ready = True
        else:
            sessions.note_admitted(self.session)
        self.said = said

    @property
    def has_failed(self) -> bool:
        tired = [e for e in self.replicas if len(e.child.failures) >= STARTS_ALLOWED]
        return not self.was_ready and len(tired) == len(self.replicas)


class ProcessRunner:
    """The runner: ``run()`` works until ``stop`` is set, and then stops all processes."""

    def __init__(self, journal: Journal, stop: threading.Event) -> None:
        self._journal = journal
        self._stop = stop
        self._running: dict[UUID, RunningSession] = {}
        self._leaving: list[Running] = []
        self._look_at = 0.0
        self._is_alone = False
        self._threads = ThreadPoolExecutor(PROBES_AT_ONCE, "probe")

    def run(self) -> None:
        try:
            while not self._stop.is_set():
                pulse.beat()
                self.look()
                self._stop.wait(TICK_SECONDS)
        finally:
            self.stop_all()

    def stop_all(self) -> None:
        """Stop everything, and return when no process runs any more."""
        self._let_go_of_all()
        while self._leaving:
            self._clear_away()
            time.sleep(TICK_SECONDS)
        self._threads.shutdown()

    def look(self) -> None:
        """Do one round. Without the database all processes keep running as they are."""
        try:
            if time.monotonic() >= self._look_at:
                self._agree()
                self._look_at = time.monotonic() + LOOK_SECONDS
            for running in list(self._running.values()):
                self._watch(running)
        except DatabaseError as error:
            log.warning("The database does not answer: %s", type(error).__name__)
            connection.close()
            DIRECT.close()
            self._look_at = time.monotonic() + 2 * LOOK_SECONDS
        self._clear_away()

    def _agree(self) -> None:
        """Start and stop sessions so that the processes agree with the rows."""
        if not self._holds_lock():
            self._let_go_of_all()
            return
        wanted = {each.pk: each for each in _wanted()}
        for pk in self._running.keys() - wanted.keys():
            self._let_go(self._running.pop(pk))
            Replica.objects.filter(session_id=pk).delete()
        for pk in wanted.keys() - self._running.keys():
            self._begin(wanted[pk])

    def _holds_lock(self) -> bool:
        # Each round notices if the connection, and with it the lock, was lost.
        is_alone = RUNNER_LOCK.try_take()
        if is_alone and not self._is_alone:
            Replica.objects.exclude(session_id__in=self._running).delete()
        self._is_alone = is_alone
        return is_alone

    def _begin(self, session: InferenceSession) -> None:
        name = session.service.configuration.get("process", "")
        try:
            command = listed().get(name)
        except BadCommands as error:
            log.error("%s", str(error))  # an error in the operator's file
            return  # it may be half written: try again in the next round
        if command is None:
            sessions.note_failed(session, f"There is no command {name!r} any more.")
            return
        sessions.note_admitted(session)
        numbers = range(1, session.replicas + 1)
        replicas = [Running(session, n, command, self._journal) for n in numbers]
        was_ready = session.ready_at is not None
        running = RunningSession(session, replicas, was_ready, Status.ADMITTED)
        self._running[session.pk] = running
        log.info("Starting session %s: %s", session.id.hex, name)

    def _watch(self, running: RunningSession) -> None:
        for replica in running.replicas:
            child = replica.child
            if child.process is None:
                if child.is_due:
                    replica.start()
            elif not child.runs:
                replica.note_end()
            elif replica.stopping_since:
                replica.has_stopped()
            elif replica.is_late:
                replica.ask_to_stop()  # a later round notes its end and starts it again
            else:
                replica.look(self._threads)
        running.tell()
        if running.has_failed:
            log.error("Session %s cannot be started", running.session.id.hex)
            said = running.replicas[0].said
            sessions.note_failed(running.session, f"It cannot be started. {said}")

    # -- stopping

    def _let_go(self, running: RunningSession) -> None:
        log.info("Stopping session %s", running.session.id.hex)
        for replica in running.replicas:
            replica.ask_to_stop()
            self._leaving.append(replica)

    def _let_go_of_all(self) -> None:
        while self._running:
            self._let_go(self._running.popitem()[1])

    def _clear_away(self) -> None:
        self._leaving = [each for each in self._leaving if not each.has_stopped()]


def _wanted() -> Iterable[InferenceSession]:
    live = InferenceSession.objects.live().filter(expires_at__gt=Now())
    return live.filter(service__runner=Runner.PROCESS).select_related("service")


def free_port() -> int:
    """Return a port of the loopback interface on which nothing listens at this moment."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
    return port
