"""``manage.py up``: everything a running store consists of, started in order and watched.

One supervisor holds ``run/lock`` of its home. The two embedded servers inherit a second
lock, so that after a supervisor was killed the next one waits until they have ended:
two databases on one directory must not happen. Every child ends when the supervisor
does, however that comes about (see ``lifeline``).
"""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import FrameType

from django.conf import settings
from django.core.management import call_command
from django.db import DatabaseError, connection

from istore import embedded, external, first_run, static_files
from istore.children import Child, Journal, stop
from istore.home import Home
from istore.lifeline import SUPERVISED
from istore.probes import answers_ok, free_port, is_free, worker_answers
from istore.service_user import ServiceUser

TICK_SECONDS = 0.05
DATABASE_SECONDS = 600  # a database that recovers from a crash takes its time
READY_SECONDS = 120
LAST_SERVERS_SECONDS = 90
FAILURES_ALLOWED = 3
WEB_THREADS, WORKER_THREADS = "8", "2"
# Ended together, one group after the other. Whole stop: below ten seconds, unless the
# database still has much to write; it is given the time.
STOP_ORDER = (
    ("web", "proxy", "demo", "send", "static"),
    ("listener", "beat", "worker"),
    ("redis",),
    ("postgres",),
)
SERVER_GRACE, DATABASE_GRACE = 4, 60
MIGRATION_LOCK = 0x15704E  # any number that only we use


class Failed(Exception):
    """The store cannot go on; the message is one line that says why."""


class Stopping(BaseException):
    """Somebody asked for the end."""


@dataclass
class Supervisor:
    home: Home
    announce: Callable[[str], None]
    echo: bool = True
    demo: bool = False
    children: dict[str, Child] = field(default_factory=dict)
    is_ready: bool = False
    signals: int = 0
    interruptible: bool = False
    demo_port: int = 0

    # -- the whole course

    def run(self, when_ready: Callable[[], None] = lambda: None) -> None:
        """Returns when somebody asked it to stop and everything has; else ``Failed``."""
        with self._alone():
            self._check_ports()
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, self._on_signal)
            try:
                self._start_everything()
                self.is_ready = True
                when_ready()
                while True:
                    self._tick()
            except Stopping:
                self.journal.write("up", "stopping")
            finally:
                self._stop_everything()

    def _start_everything(self) -> None:
        if self.demo:
            self._prepare_demo()
        collecting = self._collect_static_files()
        self._start_servers()
        self._migrate()
        secrets = first_run.create_first_user()
        connection.close()
        self._wait(lambda: not collecting or collecting.status is not None, "static")
        if collecting and collecting.status != 0:
            raise self._failure(collecting, "the static files could not be collected")
        static_files.note_collected(self.home)
        self._start_ours()
        self._announce_start(secrets)
        if self.demo:
            self._show_demo()

    def _announce_start(self, secrets: first_run.FirstSecrets | None) -> None:
        self.announce(f"Inference Store is ready at {settings.ISTORE_URL}")
        self.announce(f"Inference proxy is ready at {settings.ISTORE_PROXY_URL}")
        if secrets:
            self.announce("Shown this once:")
            self.announce(f"  log in as {first_run.FIRST_USER}: {secrets.password}")
            self.announce(
                f"  token for project {first_run.FIRST_PROJECT}: {secrets.token}"
            )

    # -- one at a time

    @contextmanager
    def _alone(self) -> Iterator[None]:
        embedded.make_run_directory(self.home, self.user)
        with open(self.home.run / "lock", "a+") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise Failed(
                    f"ISTORE_HOME: the store in {self.home.root} is already running "
                    f"(process {running_process(self.home)}); "
                    "manage.py up --stop stops it."
                ) from None
            lock.truncate(0)
            lock.write(f"{os.getpid()}\n")
            lock.flush()
            with self._servers_lock() as self.servers_lock:
                yield
            lock.truncate(0)

    @contextmanager
    def _servers_lock(self) -> Iterator[int]:
        """Held by the embedded servers too: free when none of the last run is left."""
        with open(self.home.run / "servers.lock", "a") as lock:
            deadline = time.monotonic() + LAST_SERVERS_SECONDS
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        raise Failed(
                            f"ISTORE_HOME: the last run's servers in {self.home.root} "
                            "have not ended."
                        ) from None
                time.sleep(TICK_SECONDS)
            yield lock.fileno()

    def _check_ports(self) -> None:
        """Once, and without SO_REUSEPORT: two web servers would share it in silence."""
        asked = {
            "ISTORE_PORT": settings.ISTORE_PORT,
            "ISTORE_PROXY_PORT": settings.ISTORE_PROXY_PORT,
        }
        if len(set(asked.values())) < len(asked):
            raise Failed("ISTORE_PROXY_PORT: must be another port than ISTORE_PORT.")
        for name, port in asked.items():
            if why := is_free(settings.ISTORE_HOST, port):
                raise Failed(
                    f"{name}: {settings.ISTORE_HOST}:{port} is not free ({why})."
                )

    # -- waiting and watching

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self.signals += 1
        if self.interruptible:
            self.interruptible = False
            raise Stopping

    def _tick(self) -> None:
        if self.signals:
            raise Stopping
        for child in self.children.values():
            if child.process is None:
                if time.monotonic() >= child.start_at:
                    child.start()
            elif child.status is not None:
                self._ended(child)
        time.sleep(TICK_SECONDS)

    def _ended(self, child: Child) -> None:
        if child.name in ("static", "send"):  # these are meant to end
            return
        child.note_failure()
        essential = child.name == "postgres" or not self.is_ready
        if essential and child.recent_failures() >= FAILURES_ALLOWED:
            raise self._failure(child, "it ended three times within a minute")

    def _failure(self, child: Child, why: str) -> Failed:
        for line in child.last_lines:
            self.announce(f"{child.name:>8} | {line}")
        return Failed(f"{child.name}: {why}. See {self.log_path}.")

    def _wait(
        self, happened: Callable[[], bool], name: str, seconds: float = READY_SECONDS
    ) -> None:
        deadline = time.monotonic() + seconds
        while not happened():
            self._tick()
            if time.monotonic() > deadline:
                raise self._failure(
                    self.children[name], f"it was not ready after {seconds:.0f} seconds"
                )

    def _stop_everything(self) -> None:
        signals = self.signals
        self.interruptible = False
        for names in STOP_ORDER:
            group = [self.children[name] for name in names if name in self.children]
            stop(group, hurried=lambda: self.signals > max(signals, 1))

    # -- database and broker

    def _start_servers(self) -> None:
        database = embedded.Postgres(self.home, self.user)
        broker = embedded.Valkey(self.home, self.user)
        wanted = []
        if not external.database_is_given():
            wanted.append(("postgres", database, DATABASE_GRACE))
        if not external.redis_is_given():
            wanted.append(("redis", broker, SERVER_GRACE))
        if self.user.is_someone_else and wanted:
            self.journal.write("up", "started as root: an ordinary user is better")
        try:
            for name, server, grace in wanted:
                server.prepare()
                self._start_server(name, server, grace)
            for name, server, _ in wanted:
                self._wait(server.ready, name, DATABASE_SECONDS)
                if server is database:
                    server.create_database()
            for warning in external.check(self._pause):
                self.announce(warning)
        except (embedded.Unusable, external.Unreachable) as error:
            raise Failed(str(error)) from None

    def _start_server(
        self, name: str, server: embedded.Server, grace_seconds: float
    ) -> None:
        self._start(
            name,
            server.argv(),
            env=embedded.ENVIRONMENT,
            cwd="/",
            stop_signal=server.stop_signal,
            grace_seconds=grace_seconds,
            become=server.becoming(),
            inherited=(self.servers_lock,),
        )

    def _pause(self) -> None:
        self._tick()

    def _migrate(self) -> None:
        self.interruptible = True
        try:
            with connection.cursor() as cursor:
                # Several hosts may start on one database.
                cursor.execute("SELECT pg_advisory_lock(%s)", [MIGRATION_LOCK])
            call_command("migrate", interactive=False, verbosity=0)
        except DatabaseError as error:
            raise Failed(f"migrate: {' '.join(str(error).split())}") from error
        finally:
            self.interruptible = False
        if self.signals:
            raise Stopping

    # -- what is ours

    def _collect_static_files(self) -> Child | None:
        if static_files.are_collected(self.home):
            return None
        command = ["collectstatic", "--noinput", "--clear", "--verbosity=0"]
        return self._start("static", [*self.manage, *command])

    def _start_ours(self) -> None:
        celery = [sys.executable, "-m", "celery", "-A", "istore.celery"]
        worker = f"istore-{os.getpid()}@{socket.gethostname()}"
        self._start(
            "worker",
            # Threads: no processes of its own that could outlive it.
            [*celery, "worker", "--pool=threads", f"--concurrency={WORKER_THREADS}"]
            + ["--without-gossip", "--without-mingle", f"--hostname={worker}"],
        )
        beat = ["beat", "--scheduler=celery.beat:Scheduler", "--pidfile="]
        self._start("beat", [*celery, *beat])
        self._start("listener", [*self.manage, "listen"])
        self._start_granian(
            "proxy",
            settings.ISTORE_PROXY_PORT,
            ["--interface=asginl", "proxy.asgi:application"],
        )
        self._start_granian(
            "web",
            settings.ISTORE_PORT,
            ["--interface=wsgi", f"--blocking-threads={WEB_THREADS}"]
            + ["istore.wsgi:application"],
            ISTORE_DATABASE_POOL="true",
        )
        address = settings.ISTORE_HOST
        web, proxy = settings.ISTORE_PORT, settings.ISTORE_PROXY_PORT
        self._wait(lambda: answers_ok(address, web, "/health/ready"), "web")
        self._wait(lambda: answers_ok(address, proxy, "/v2/health/ready"), "proxy")
        self._wait(lambda: worker_answers(worker), "worker")
        # The others have nothing to ask: that they are there has to do.
        for name in ("listener", "beat"):
            self._wait(lambda name=name: self.children[name].runs, name)

    def _start_granian(
        self, name: str, port: int, arguments: list[str], **env: str
    ) -> None:
        address = [f"--host={settings.ISTORE_HOST}", f"--port={port}"]
        # Calls in flight are finished first, but a stop must not take a minute.
        patience = [f"--workers-kill-timeout={SERVER_GRACE - 1}"]
        granian = [sys.executable, "-m", "granian", "--workers=1"]
        self._start(
            name,
            [*granian, *address, *patience, *arguments],
            env={**self.environment, SUPERVISED: "true", **env},
            grace_seconds=SERVER_GRACE,
        )

    def _start(self, name: str, argv: list[str], **given: object) -> Child:
        options = {"env": self.environment, "cwd": settings.BASE_DIR, **given}
        child = Child(name, argv, self.journal, **options)
        self.children[name] = child
        child.start()
        return child

    # -- the demonstration

    def _prepare_demo(self) -> None:
        self.demo_port = free_port(int(os.environ.get("DEMO_PORT") or 9000))
        asked = settings.BASE_DIR / "demo" / "requirements.txt"
        stamp = Path(sys.prefix, ".installed-demo-requirements.txt")
        if stamp.exists() and stamp.read_bytes() == asked.read_bytes():
            return
        self.announce("Installing demo/requirements.txt (once)")
        pip = [sys.executable, "-m", "pip", "install", "-qq"]
        options = ["--disable-pip-version-check", "-r", str(asked)]
        self._finish("send", [*pip, *options], "its requirements cannot be installed")
        stamp.write_bytes(asked.read_bytes())

    def _show_demo(self) -> None:
        upstream = f"http://127.0.0.1:{self.demo_port}"
        env = {**self.environment, "DEMO_PORT": str(self.demo_port)}
        self._start("demo", [sys.executable, "-m", "demo.server"], env=env)
        ready = "/v2/health/ready"
        self._wait(lambda: answers_ok("127.0.0.1", self.demo_port, ready), "demo")
        token = first_run.create_demo_token()
        connection.close()
        send = [sys.executable, "-m", "demo.send", f"--upstream={upstream}"]
        where = [f"--url={settings.ISTORE_URL}", f"--proxy={settings.ISTORE_PROXY_URL}"]
        sender = self._finish("send", [*send, *where, f"--token={token}"], "it failed")
        page = sender.last_lines[-1] if sender.last_lines else settings.ISTORE_URL
        self.announce(f"Demonstration: {page}")

    def _finish(self, name: str, argv: list[str], otherwise: str) -> Child:
        child = self._start(name, argv)
        self._wait(lambda: child.status is not None, name, 600)
        child.kill()  # and its output is read to the end
        if child.status != 0:
            raise self._failure(child, f"demonstration: {otherwise}")
        return child

    # -- what the above needs

    @cached_property
    def user(self) -> ServiceUser:
        return ServiceUser.for_home(self.home.root)

    @property
    def log_path(self) -> Path:
        return self.home.root / "log" / "up.log"

    @cached_property
    def journal(self) -> Journal:
        return Journal(self.log_path, echo=self.echo)

    @cached_property
    def environment(self) -> dict[str, str]:
        env = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "istore.settings",
            "ISTORE_HOME": str(self.home.root),
            "PYTHONUNBUFFERED": "1",
        }
        env.pop("ISTORE_DATABASE_POOL", None)  # for the web process alone
        if self.demo_port:
            allowed = [*settings.ISTORE_UPSTREAM_ALLOW, f"127.0.0.1:{self.demo_port}"]
            env["ISTORE_UPSTREAM_ALLOW"] = ",".join(allowed)
        return env

    @property
    def manage(self) -> list[str]:
        return [sys.executable, str(settings.BASE_DIR / "manage.py")]


def running_process(home: Home) -> int | None:
    """The process id of the supervisor of this home, if there is one."""
    try:
        with open(home.run / "lock") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return int(lock.read().strip() or 0) or None
    except FileNotFoundError:
        pass
    return None


def stop_running(home: Home, seconds: float = 90) -> bool:
    """Stop the supervisor of this home and wait for its end; False if there is none."""
    process = running_process(home)
    if process is None:
        return False
    with suppress(ProcessLookupError):
        os.kill(process, signal.SIGTERM)
    deadline = time.monotonic() + seconds
    while running_process(home) == process:
        if time.monotonic() > deadline:
            raise Failed(
                f"Process {process} has not ended after {seconds:.0f} seconds."
            )
        time.sleep(TICK_SECONDS)
    return True
