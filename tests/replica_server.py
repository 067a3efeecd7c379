"""A streaming replica of an embedded PostgreSQL, for tests: made by ``pg_basebackup``.

It is a server of its own in a directory of its own. Tests hold its replay back, as a replica
that lags, and stop it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from istore.child_process import Child, Journal, stop
from istore.home import Home
from istore.service_user import ServiceUser
from supervisor import embedded


class ReplicaServer:
    """A replica of the server in a home. Statements are sent to it as its superuser."""

    def __init__(self, primary: Home, root: Path) -> None:
        user = ServiceUser.for_home(primary.root)
        # Copies are of the primary's version alone.
        major = os.environ.get("ISTORE_TEST_POSTGRES", embedded.POSTGRES_MAJOR)
        self.primary = embedded.Postgres(primary, user, careless=True, major=major)
        self.home = Home(root)
        embedded.make_run_directory(self.home, user)
        self.server = embedded.Postgres(self.home, user, careless=True, major=major)
        self.journal = Journal(root / "replica.log", echo=False)
        self.child: Child | None = None

    def make(self) -> None:
        """Copy the primary; the copy follows it from there on."""
        argv = [
            *(
                str(self.primary.programs / "pg_basebackup"),
                "-D",
                self.server.directory,
            ),
            *("-h", str(self.primary.home.run), "-U", embedded.OWNER),
            *("--write-recovery-conf", "--wal-method=stream", "--checkpoint=fast"),
            *("--no-sync", "--no-password"),
        ]
        # Its parent belongs to root, and the copy to the server's user.
        self.server.directory.mkdir(mode=0o700)
        self.server.user.own(self.server.directory)
        done = subprocess.run(
            argv,
            cwd="/",
            env={**embedded.ENVIRONMENT, "PGPASSWORD": self.primary.password},
            capture_output=True,
            text=True,
            preexec_fn=self.server.becoming(),
        )
        assert done.returncode == 0, done.stderr

    def start(self) -> None:
        self.child = embedded.child_of(self.server, self.journal)
        self.child.start()
        deadline = time.monotonic() + 30
        while not self.server.ready():
            assert self.child.status is None, (
                self.home.root / "replica.log"
            ).read_text()
            assert time.monotonic() < deadline, "the replica does not answer"
            time.sleep(0.05)

    def stop(self) -> None:
        if self.child is not None:
            stop([self.child], hurried=lambda: True)
            self.child = None

    def execute(self, statement: str):
        given = {
            "host": str(self.home.run),
            "dbname": "postgres",
            "user": embedded.OWNER,
            "password": self.primary.password,
        }
        with psycopg.connect(**given, autocommit=True) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchone() if cursor.description else None

    def hold_back(self) -> None:
        """Replay nothing from now on, after all that was committed before."""
        self.catch_up()
        self.execute("SELECT pg_wal_replay_pause()")
        while self.execute("SELECT pg_get_wal_replay_pause_state()")[0] != "paused":
            time.sleep(0.01)

    def go_on(self) -> None:
        self.execute("SELECT pg_wal_replay_resume()")

    def catch_up(self) -> None:
        """Wait until it has replayed all that the primary has written."""
        with self.primary.connect("postgres") as connection:
            (at,) = connection.execute("SELECT pg_current_wal_insert_lsn()").fetchone()
        deadline = time.monotonic() + 30
        while not self.execute(f"SELECT pg_last_wal_replay_lsn() >= '{at}'")[0]:
            assert time.monotonic() < deadline, "the replica does not catch up"
            time.sleep(0.01)


@contextmanager
def running(primary: Home) -> Iterator[ReplicaServer]:
    """Run a replica of the server in this home during the block."""
    root = Path(tempfile.mkdtemp(prefix="istore-replica-"))
    found = ReplicaServer(primary, root)
    try:
        found.make()
        found.start()
        yield found
    finally:
        found.stop()
        found.journal.close()
        shutil.rmtree(root, ignore_errors=True)
        shutil.rmtree(found.home.run, ignore_errors=True)


def home_of_tests() -> Home:
    """Return the home whose servers the tests of this process use."""
    return Home(Path(os.environ["ISTORE_TEST_SERVERS"]))
