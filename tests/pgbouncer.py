"""PgBouncer in transaction mode before the PostgreSQL of the tests. Debian has it."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from django.db import connection

from istore.service_user import ServiceUser

POOL = 2  # the server's connections: fewer than clients, so that they meet


def program() -> str | None:
    """Return the path of PgBouncer; None where it is not installed."""
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin"])
    return shutil.which("pgbouncer", path=path)


@contextmanager
def running() -> Iterator[dict[str, str]]:
    """Run it before the database of this test; yield the settings that lead to it."""
    given = connection.settings_dict
    root = Path(tempfile.mkdtemp(prefix="istore-pooler-"))
    user = ServiceUser.for_home(Path(os.environ["ISTORE_TEST_SERVERS"]))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    (root / "users").write_text(f'"{given["USER"]}" "{given["PASSWORD"]}"\n')
    (root / "pgbouncer.ini").write_text(f"""
[databases]
* = host={given["HOST"]}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = plain
auth_file = {root / "users"}
pool_mode = transaction
default_pool_size = {POOL}
max_client_conn = 100
logfile = {root / "log"}
""")
    for each in (root, *root.iterdir()):
        user.own(each)
    server = subprocess.Popen(
        [program(), str(root / "pgbouncer.ini")],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        preexec_fn=user.becoming(
            Path(program()), (root / "log",), end_by=signal.SIGTERM
        ),
    )
    settings = {**given, "HOST": "127.0.0.1", "PORT": str(port)}
    try:
        _wait(settings, server, root / "log")
        yield settings
    finally:
        server.kill()
        server.wait()
        shutil.rmtree(root, ignore_errors=True)


def _wait(settings: dict[str, str], server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 20
    while True:
        try:
            names = ("host", "port", "user", "password")
            where = {name: settings[name.upper()] for name in names}
            psycopg.connect(**where, dbname=settings["NAME"]).close()
            return
        except psycopg.OperationalError as error:
            said = log.read_text() if log.exists() else ""
            assert server.poll() is None, said
            assert time.monotonic() < deadline, f"{error}\n{said}"
            time.sleep(0.05)
