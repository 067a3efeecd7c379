"""Processes of a store as on several hosts: each has a home of its own, and nothing else.

They share a database, a broker, a bucket and the secrets, which the settings name. A host may
run the code of another release.
"""

from __future__ import annotations

import http.client
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from istore.home import Home
from istore.tests.running_store import free_ports
from supervisor import embedded
from tests import s3_server

ROOT = Path(__file__).resolve().parent.parent
READY_SECONDS = 60
CELERY = ["-m", "celery", "--quiet", "--skip-checks", "-A", "istore.celery"]
ALONE = ["--without-gossip", "--without-mingle"]


@contextmanager
def servers(root: Path) -> Iterator[dict[str, str]]:
    """Run a database, a broker and an object store; yield the settings that name them."""
    home = Home(root)
    with embedded.running(home, careless=True), s3_server.running() as endpoint:
        where = quote(str(home.run), safe="")
        password = home.secret("pg_app_password")
        yield {
            **{k: v for k, v in os.environ.items() if not k.startswith("ISTORE_")},
            **s3_server.variables(endpoint, "many"),
            "ISTORE_TESTING": "true",
            "ISTORE_DATABASE_URL": f"postgresql://istore_app:{password}@{where}/istore",
            "ISTORE_REDIS_URL": f"unix://{quote(str(home.run / 'redis.sock'))}?db=0",
            "ISTORE_SECRET_KEY": secrets.token_urlsafe(),
            "ISTORE_SIGNING_KEY": secrets.token_urlsafe(),
            "ISTORE_METRICS_TOKEN": secrets.token_urlsafe(),
            "ISTORE_EVENT_IDLE_SECONDS": "2",
            "ISTORE_TASK_LEASE_SECONDS": "5",
            "ISTORE_PACK_LINGER_MS": "200",
        }


@dataclass
class Host:
    """A home, and the processes of it by their roles."""

    home: Path
    settings: dict[str, str]
    code: Path = ROOT
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.port, self.proxy_port = free_ports(2)
        self.home.mkdir(mode=0o700, parents=True, exist_ok=True)

    @property
    def env(self) -> dict[str, str]:
        return {
            **self.settings,
            "ISTORE_HOME": str(self.home),
            "ISTORE_PORT": str(self.port),
            "ISTORE_PROXY_PORT": str(self.proxy_port),
            "DJANGO_SETTINGS_MODULE": "istore.settings",
        }

    def manage(self, *arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=self.code,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=180,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def start(self, *roles: str) -> None:
        for role in roles:
            log = open(self.home / f"{role}.log", "ab")  # noqa: SIM115 the process has it
            self.running[role] = subprocess.Popen(
                [sys.executable, *self._argv(role)],
                cwd=self.code,
                env=self.env,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
            log.close()

    def _argv(self, role: str) -> list[str]:
        if role == "web":
            own = (self.code / "istore" / "web_server.py").exists()
            program = "istore.web_server" if own else "granian"
            return [
                *("-m", program, "--host=127.0.0.1", f"--port={self.port}"),
                *("--interface=asginl", "--workers=1", "istore.asgi:application"),
            ]
        if role == "proxy":
            return ["-m", "proxy.serve", f"--port={self.proxy_port}"]
        if role == "listener":
            return ["manage.py", "listen"]
        if role == "worker":
            name = f"{self.home.name}@tests"
            queues = ["-Q", "celery,exports", "--concurrency=2", "-n", name]
            return [*CELERY, "worker", "--pool=threads", *ALONE, *queues]
        assert role == "beat"
        scheduler = "--scheduler=istore.tasks.beat:SteadyScheduler"
        return [*CELERY, "beat", scheduler, "--pidfile="]

    def wait(self) -> None:
        """Wait until web server and proxy, as far as they run, are ready."""
        paths = {"web": "/health/ready", "proxy": "/v2/health/ready"}
        for role in paths.keys() & self.running.keys():
            until = time.monotonic() + READY_SECONDS
            while self.status(role, paths[role]) != 200:
                process = self.running[role]
                assert process.poll() is None, self.log(role)
                assert time.monotonic() < until, self.log(role)
                time.sleep(0.1)

    def status(self, role: str, path: str) -> int | None:
        port = self.port if role == "web" else self.proxy_port
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        try:
            connection.request("GET", path)
            return connection.getresponse().status
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()

    def log(self, role: str) -> str:
        return (self.home / f"{role}.log").read_text(errors="replace")[-4000:]

    def kill(self, role: str) -> None:
        """kill -9, and everything below it, as when its host goes."""
        process = self.running.pop(role)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def terminate(self, role: str) -> subprocess.Popen[bytes]:
        process = self.running.pop(role)
        process.terminate()
        return process

    def stop(self) -> None:
        for role in list(self.running):
            with suppress(ProcessLookupError):
                self.kill(role)
