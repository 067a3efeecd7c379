"""The processes of a running store, in the order in which they start."""

from __future__ import annotations

import os
import socket
from functools import partial
from importlib import import_module

import psycopg
from django.conf import settings
from django.core.management import call_command
from django.db import DatabaseError, connection
from django.urls import resolve

from istore.checks import health
from istore.child_process import Child
from istore.db.advisory_lock import AdvisoryLock
from istore.db.other_servers import DIRECT
from istore.fork_server import VARIABLE as FORK_SERVER
from istore.lifeline import SUPERVISED
from istore.probes import answers_ok, in_the_way, worker_answers
from istore.pulse import ROLE
from istore.sockets import listen
from istore.upstreams import OBSERVED, metrics_ports
from istore.web import static_files
from supervisor import embedded, external, first_run, programs
from supervisor.demonstration import prepare_demo, show_demo
from supervisor.supervise import Failed, Supervisor

DATABASE_SECONDS = 600  # recovery after a crash may take minutes
STATIC_SECONDS = 120
SESSIONS_GRACE = 15  # seconds; its process guard stops what takes longer
LAST_PORT = 65535
MIGRATION_LOCK = AdvisoryLock(0x15704E)  # an arbitrary number, used by nothing else
# The programs of the processes, by name, so that this room knows no other.
PROGRAMS = (
    *(
        "celery.bin.celery",
        "celery.apps.worker",
        "celery.apps.beat",
        "istore.web_server",
    ),
    *("proxy.app", "proxy.inference_handler", "proxy.capture.worker"),
    "ingest.management.commands.listen",
)


def start_everything(supervisor: Supervisor, *, demo: bool = False) -> None:
    """Start all processes, and return when they answer and the operator was told."""
    check_ports()
    supervisor.environment.pop(FORK_SERVER, None)
    # For a process that runs alone, and for the web process.
    for name in (ROLE, *programs.WEB_ENVIRONMENT):
        supervisor.environment.pop(name, None)
        os.environ.pop(name, None)
    supervisor.environment |= {
        "DJANGO_SETTINGS_MODULE": "istore.settings",
        "ISTORE_HOME": str(supervisor.home.root),
        "PYTHONUNBUFFERED": "1",
    }
    if demo:
        prepare_demo(supervisor)
    supervisor.start_fork_server(preload)
    start_servers(supervisor)
    collecting = _collect_static_files(supervisor)
    migrate(supervisor)
    try:
        secrets = first_run.create_first_user()
    except first_run.WeakPassword as error:
        raise Failed(str(error)) from None
    connection.close()
    DIRECT.close()
    if collecting:
        why = "the static files could not be collected"
        supervisor.finish(collecting, why, STATIC_SECONDS)
        static_files.note_collected(supervisor.home)
    start_ours(supervisor)
    supervisor.announce(f"Inference Store is ready at {settings.ISTORE_URL}")
    supervisor.announce(f"Inference proxy is ready at {settings.ISTORE_PROXY_URL}")
    for line in first_run.lines_about(secrets):
        supervisor.announce(line)
    if demo:
        show_demo(supervisor)


def preload() -> None:
    """Import what the processes need, in the process that they are forked from."""
    from istore.celery import app

    for name in PROGRAMS:
        import_module(name)
    app.loader.import_default_modules()
    app.finalize()
    resolve("/")  # imports all views


def check_ports() -> None:
    """Raise ``Failed`` unless all ports are free and differ."""
    asked = {
        "ISTORE_PORT": settings.ISTORE_PORT,
        "ISTORE_PROXY_PORT": settings.ISTORE_PROXY_PORT,
    }
    if len(set(asked.values())) < len(asked):
        raise Failed("ISTORE_PROXY_PORT: must be another port than ISTORE_PORT.")
    of_metrics = set(metrics_ports().values())
    if of_metrics & set(asked.values()) or max(of_metrics, default=0) > LAST_PORT:
        why = f"it and the {len(OBSERVED) - 1} ports behind it must be free."
        raise Failed(f"ISTORE_METRICS_PORT: {why}")
    wanted = [*asked.items()]
    wanted += [("ISTORE_METRICS_PORT", port) for port in sorted(of_metrics)]
    for name, port in wanted:
        if why := in_the_way(settings.ISTORE_HOST, port):
            raise Failed(f"{name}: {settings.ISTORE_HOST}:{port} is not free ({why}).")


def start_servers(supervisor: Supervisor) -> None:
    """Start database and broker, or wait for the external ones that the settings name."""
    home, user = supervisor.home, supervisor.user
    database, broker = embedded.Postgres(home, user), embedded.Valkey(home, user)
    wanted: list[embedded.Server] = []
    if not external.database_is_given():
        wanted.append(database)
    if not external.redis_is_given():
        wanted.append(broker)
    if wanted and user.is_someone_else:
        supervisor.journal.write("up", "started as root: prefer an ordinary user")
    try:
        for server in wanted:
            server.prepare()
            locks = [supervisor.servers_lock]
            supervisor.add(
                embedded.child_of(server, supervisor.journal, inherited=locks)
            )
        for server in wanted:
            supervisor.wait(server.ready, server.name, DATABASE_SECONDS)
        if database in wanted:
            database.create_database()
        for warning in external.check(supervisor.tick):
            supervisor.announce(warning)
        for name, reason in health.failing(health.blob_stores).items():
            supervisor.announce(f"{name}: {reason}")
    except (embedded.Unusable, external.Unreachable, psycopg.Error) as error:
        raise Failed(" ".join(str(error).split())) from None


def migrate(supervisor: Supervisor) -> None:
    """Apply missing migrations under an advisory lock. Raises ``Failed``."""
    try:
        with supervisor.interruptible():
            apply_migrations()
    except DatabaseError as error:
        raise Failed(f"migrate: {' '.join(str(error).split())}") from error


def apply_migrations() -> None:
    """Apply missing migrations. Several hosts may start on one database: one at a time does it."""
    MIGRATION_LOCK.wait()
    call_command("migrate", interactive=False, verbosity=0)


def _collect_static_files(supervisor: Supervisor) -> Child | None:
    """Start collecting static files if they are out of date; return the process or None.

    It runs while the database is migrated, and needs none.
    """
    if static_files.are_collected(supervisor.home):
        return None
    return supervisor.start("static", programs.COLLECT, once=True)


def start_ours(supervisor: Supervisor) -> None:
    """Start the store's own processes, and wait until each is ready."""
    worker = f"istore-{os.getpid()}@{socket.gethostname()}"
    env = partial(_with_metrics, supervisor)
    supervisor.start("worker", programs.worker(worker), env=env("worker"))
    workers = {"worker": worker}
    if not settings.ISTORE_SMALL:
        workers["exporter"] = exporter = f"exports-{worker}"
        # ``nice`` lets pages go first.
        argv = programs.exporter(exporter)
        supervisor.start("exporter", argv, nice=10, env=env("exporter"))
    supervisor.start("beat", programs.BEAT, env=env("beat"))
    supervisor.start("listener", programs.LISTENER, env=env("listener"))
    unasked = ["listener", "beat"]
    if settings.ISTORE_PROCESSES_FILE:
        supervisor.start("sessions", programs.SESSIONS, grace_seconds=SESSIONS_GRACE)
        unasked.append("sessions")
    host = settings.ISTORE_HOST
    proxy, web = settings.ISTORE_PROXY_PORT, settings.ISTORE_PORT
    unasked += _start_proxies(supervisor)
    _start_web(supervisor)
    supervisor.wait(lambda: answers_ok(host, web, "/health/ready"), "web")
    supervisor.wait(lambda: answers_ok(host, proxy, "/v2/health/ready"), "proxy")
    for name, node in workers.items():
        supervisor.wait(partial(worker_answers, node), name)
    # The others have no endpoint to ask, so it is enough that they are running.
    for name in unasked:
        supervisor.wait(partial(_is_running, supervisor, name), name)


def _with_metrics(supervisor: Supervisor, name: str) -> dict[str, str]:
    """Return the environment of a process, with the port of its metrics."""
    port = metrics_ports().get(name, 0)
    return {**supervisor.environment, "ISTORE_METRICS_PORT": str(port)}


def _is_running(supervisor: Supervisor, name: str) -> bool:
    return supervisor.children[name].runs


def _start_proxies(supervisor: Supervisor) -> list[str]:
    """Start the proxy processes; return the names of those that no request surely reaches.

    Each gets a socket of its own on the one port, and the kernel spreads connections over them. The
    sockets are ours, so that connections wait while a process is started again.
    """
    count = settings.ISTORE_PROXY_WORKERS
    names = ["proxy", *(f"proxy-{number}" for number in range(2, count + 1))]
    for number, name in enumerate(names):
        address = settings.ISTORE_HOST, settings.ISTORE_PROXY_PORT
        descriptor = listen(*address, is_shared=count > 1).detach()
        argv = [*programs.PROXY, f"--socket={descriptor}"]
        if count > 1:
            argv.append(f"--number={number}")
        env, inherited = dict(supervisor.environment), [descriptor]
        if supervisor.fork_server:  # its capture process is forked, too
            env[FORK_SERVER] = str(supervisor.fork_server[1])
            inherited.append(supervisor.fork_server[1])
        supervisor.start(
            name,
            argv,
            env=env,
            inherited=inherited,
            grace_seconds=programs.PROXY_GRACE,
        )
    return names[1:]


def _start_web(supervisor: Supervisor) -> None:
    env = {
        **supervisor.environment,
        **programs.WEB_ENVIRONMENT,
        SUPERVISED: "true",
    }
    supervisor.start(
        "web", programs.web(), env=env, grace_seconds=programs.SERVER_GRACE
    )
