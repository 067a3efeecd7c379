"""Each role as a process of its own, with a home of its own, as containers run them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from inference_store import mocks
from inference_store.local.serving import serve

from istore import pulse
from istore.tests.running_store import free_ports
from supervisor import probe
from tests import s3_server
from tests.redis_databases import database_url

ROOT = Path(__file__).parents[2]
# An exporter is a worker of another queue.
ROLES = ("web", "proxy", "listener", "worker", "beat")
MANAGE = [sys.executable, "manage.py"]


def test_roles_alone_make_a_store(tmp_path, fresh_database, s3_endpoint):
    secrets = tmp_path / "secrets"
    port, proxy_port = free_ports(2)
    mock = serve(mocks.create("object-detection", {}))
    threading.Thread(target=mock.serve_forever, args=(0.01,), daemon=True).start()
    database, _, rest = fresh_database.partition("@")
    user, password = database.removeprefix("postgresql://").split(":")
    environment = {
        **{k: v for k, v in os.environ.items() if not k.startswith("ISTORE_")},
        **s3_server.variables(s3_endpoint),
        "ISTORE_S3_BUCKET": "made-by-prepare",
        "ISTORE_HOME": str(tmp_path / "jobs"),
        "ISTORE_DATABASE_URL": f"postgresql://{user}@{rest}",
        "ISTORE_DATABASE_PASSWORD_FILE": str(secrets / "database_password"),
        "ISTORE_REDIS_URL": database_url(8),
        "ISTORE_PORT": str(port),
        "ISTORE_PROXY_PORT": str(proxy_port),
        "ISTORE_ADMIN_PASSWORD_FILE": str(secrets / "admin_password"),
        **{
            f"ISTORE_{name.upper()}_FILE": str(secrets / name)
            for name in ("secret_key", "signing_key", "metrics_token")
        },
    }

    def run(*arguments: str, **more: str) -> str:
        done = subprocess.run(
            arguments,
            cwd=ROOT,
            env={**environment, **more},
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, f"{arguments}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    # Of an installation by hand: without the settings that name these files.
    bare = {k: v for k, v in os.environ.items() if not k.startswith("ISTORE_")}
    bare["ISTORE_HOME"] = str(tmp_path / "bare")
    make = [*MANAGE, "make_secrets", str(secrets)]
    subprocess.run(make, cwd=ROOT, env=bare, check=True, capture_output=True)
    (secrets / "database_password").chmod(0o600)
    (secrets / "database_password").write_text(f"{password}\n")

    said = run(*MANAGE, "prepare", "--make-bucket")
    assert said.splitlines()[-1] == "Ready for the roles."
    assert "password" not in said and "token" not in said
    with running(environment, tmp_path):
        for role in ROLES:
            wait_until_ready(role, {**environment, "ISTORE_HOME": str(tmp_path / role)})
        token = run(
            *(*MANAGE, "create_token", "first", "--project", "default"),
            *("--role", "administrator"),
        )
        client = {
            "ISTORE_URL": f"http://127.0.0.1:{port}",
            "ISTORE_PROXY_URL": f"http://127.0.0.1:{proxy_port}",
            "ISTORE_TOKEN": token.strip(),
        }
        script = str(ROOT / "deploy" / "first_inference.py")
        assert "stored and found" in run(sys.executable, script, mock.url, **client)
    mock.shutdown()
    mock.server_close()
    # Nothing of the installation lies in the homes but the spool, which is empty.
    made = [
        path.relative_to(tmp_path).parts[0] for path in tmp_path.glob("*/secrets/*_key")
    ]
    assert set(made) == {"bare"}
    assert not list(tmp_path.glob("*/blobs/*"))


@contextmanager
def running(environment: dict[str, str], folder: Path) -> Iterator[None]:
    """All roles; each ends by SIGTERM within some seconds."""
    processes = {}
    try:
        for role in ROLES:
            home = folder / role
            home.mkdir()
            with open(home / "log", "wb") as log:
                processes[role] = subprocess.Popen(
                    [*MANAGE, "run", role],
                    cwd=ROOT,
                    env={**environment, "ISTORE_HOME": str(home)},
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
        yield
        for process in processes.values():
            process.terminate()
        for role, process in processes.items():
            assert process.wait(30) in (0, -signal.SIGTERM), role
    finally:
        for process in processes.values():
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def wait_until_ready(
    role: str, environment: dict[str, str], seconds: float = 90
) -> None:
    argv = [sys.executable, "-m", "supervisor.probe", role, "--ready"]
    deadline = time.monotonic() + seconds
    while True:
        done = subprocess.run(
            argv, cwd=ROOT, env=environment, capture_output=True, text=True
        )
        if done.returncode == 0:
            return
        log = Path(environment["ISTORE_HOME"], "log").read_text()
        assert time.monotonic() < deadline, f"{done.stderr}\n{log}"
        time.sleep(1)  # a probe costs a third of a second of a processor


@pytest.fixture
def worker_home(tmp_path, monkeypatch):
    """A home in which a worker was seen at work ten minutes ago."""
    monkeypatch.setenv("ISTORE_HOME", str(tmp_path))
    monkeypatch.setenv(pulse.ROLE, "worker")
    return tmp_path


def seen(home: Path, seconds_ago: float) -> None:
    pulse.beat()
    at = time.time() - seconds_ago
    os.utime(home / "run" / "worker.alive", (at, at))


def test_a_role_that_is_stuck_is_told(worker_home, capsys):
    assert probe.main([]) == 1
    assert "has not begun" in capsys.readouterr().err
    seen(worker_home, 0)
    assert probe.main(["worker"]) == 0
    seen(worker_home, 600)
    assert probe.main(["worker"]) == 1
    assert "was last seen at work 600 s ago" in capsys.readouterr().err


def test_a_role_that_waits_for_the_broker_is_not_ended(worker_home, settings):
    seen(worker_home, 600)
    settings.ISTORE_REDIS_URL = f"redis://127.0.0.1:{free_ports(1)[0]}/0"
    assert probe.main(["worker"]) == 0


def test_only_a_role_that_runs_alone_has_a_pulse(worker_home, monkeypatch):
    monkeypatch.delenv(pulse.ROLE)
    pulse.beat()
    assert pulse.age("worker") is None
