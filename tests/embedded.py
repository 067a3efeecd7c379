"""PostgreSQL and Valkey for the tests: a fresh pair in a temporary ``$ISTORE_HOME``.

Named by ``addopts``, because pytest-django reads the settings before conftest files run.
The servers belong to a keeper process, which lives as long as its standard input is open:
however pytest ends, they end and their directory goes. Workers of pytest-xdist inherit
the environment and start nothing.
"""

from __future__ import annotations

import atexit
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
STARTED, S3 = "ISTORE_TEST_SERVERS", "ISTORE_TEST_S3"
POSTGRES = "ISTORE_TEST_POSTGRES"  # its major version
REDIS, REDIS_URL = "ISTORE_TEST_REDIS", "ISTORE_REDIS_URL"
STOP_SECONDS = 30
# What is said to the tests themselves.
OF_TESTS = {
    *("ISTORE_CHROMIUM", "ISTORE_EXAMPLES"),
    *("ISTORE_FOREIGN", "ISTORE_FOREIGN_CACHE"),
    POSTGRES,
    REDIS,  # in place of the embedded Valkey: a URL, or a program such as redis-server
    "ISTORE_SHIP",  # 1: the image is built and run
    S3,  # 1: blobs lie in an object store; then its endpoint
}


def keep(root: Path) -> None:
    """Runs the servers in ``root`` until standard input ends."""
    from istore.home import Home
    from supervisor import embedded

    home = Home(root)
    major = os.environ.get(POSTGRES, embedded.POSTGRES_MAJOR)
    database = embedded.running(home, careless=True, major=major)
    try:
        with database, object_store() as endpoint, external_redis(root) as url:
            print(json.dumps({S3: endpoint, REDIS_URL: url}), flush=True)
            sys.stdin.read()
    finally:
        shutil.rmtree(root, ignore_errors=True)
        shutil.rmtree(home.run, ignore_errors=True)


@contextmanager
def object_store() -> Iterator[str]:
    """Run an object store for all tests if they are to use one; yield its endpoint or nothing."""
    from tests import s3_server

    with s3_server.running() if os.environ.get(S3) else nullcontext("") as endpoint:
        yield endpoint


@contextmanager
def external_redis(root: Path) -> Iterator[str]:
    """Yield the URL of the Redis that the tests are to use in place of the embedded one, or nothing.

    Where a program is named, it is run as an external one is: on TCP, with a password.
    """
    program = os.environ.get(REDIS, "")
    if not program or "://" in program:
        yield program
        return
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    password = secrets.token_urlsafe()
    file = root / "redis.conf"  # a password is not for the list of processes
    file.write_text(
        f"bind 127.0.0.1\nport {port}\nrequirepass {password}\n"
        f'dir {root}\nsave ""\nappendonly yes\nmaxmemory-policy noeviction\n'
    )
    with subprocess.Popen([program, str(file)], stdout=subprocess.DEVNULL) as server:
        try:
            yield f"redis://:{password}@127.0.0.1:{port}/0"
        finally:
            server.kill()  # nothing of it is kept


def start() -> None:
    given = {key for key in os.environ if key.startswith("ISTORE_")}
    for key in given - OF_TESTS:
        del os.environ[key]  # the tests are about the defaults
    root = tempfile.mkdtemp(prefix="istore-tests-")
    os.environ |= {"ISTORE_HOME": root, "ISTORE_TESTING": "true", STARTED: root}
    keeper = subprocess.Popen(
        [sys.executable, "-m", "tests.embedded", root],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,  # ctrl-C is for pytest; the keeper sees the end of it
    )
    atexit.register(_stop, keeper, os.getpid())
    if line := keeper.stdout.readline():
        os.environ |= {name: value for name, value in json.loads(line).items() if value}
    else:
        log = Path(root, "servers.log")
        said = log.read_text(errors="replace")[-2000:] if log.exists() else ""
        raise SystemExit(f"The servers for the tests did not start.\n{said}")


def _stop(keeper: subprocess.Popen[str], started_by: int) -> None:
    if os.getpid() == started_by:
        keeper.stdin.close()
        with suppress(subprocess.TimeoutExpired):  # many files: it removes them alone
            keeper.wait(STOP_SECONDS)


if __name__ == "__main__":
    keep(Path(sys.argv[1]))
elif STARTED not in os.environ:
    start()
