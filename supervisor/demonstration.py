"""``up --demo``: a small model server beside the store, and some traffic through both."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

from django.conf import settings
from django.db import connection

from istore import env
from istore.probes import answers_ok, free_port
from supervisor.first_run import create_demo_token
from supervisor.supervise import Failed, Supervisor

USUAL_PORT = 9000
INSTALL_SECONDS = SEND_SECONDS = 600


def prepare_demo(supervisor: Supervisor) -> None:
    """Install the demo's packages, choose its port and allow it as an upstream.

    It must run before any process starts, because it changes their environment.
    """
    _install(supervisor)
    port = free_port(env.number("DEMO_PORT", USUAL_PORT, least=1, most=65535))
    allowed = [*settings.ISTORE_UPSTREAM_ALLOW, f"127.0.0.1:{port}"]
    settings.ISTORE_UPSTREAM_ALLOW = allowed  # of what is forked from this process
    supervisor.environment |= {
        "DEMO_PORT": str(port),
        "ISTORE_UPSTREAM_ALLOW": ",".join(allowed),
    }


def show_demo(supervisor: Supervisor) -> None:
    """Start the model server and send the traffic, once the store is ready."""
    port = int(supervisor.environment["DEMO_PORT"])
    supervisor.start("demo", [sys.executable, "-m", "demo.server"])
    ready = "/v2/health/ready"
    supervisor.wait(lambda: answers_ok("127.0.0.1", port, ready), "demo")
    token = create_demo_token()
    connection.close()
    where = {
        "--url": settings.ISTORE_URL,
        "--proxy": settings.ISTORE_PROXY_URL,
        "--upstream": f"http://127.0.0.1:{port}",
    }
    options = [f"{name}={value}" for name, value in where.items()]
    send = [sys.executable, "-m", "demo.send", *options]
    env = {**supervisor.environment, "ISTORE_TOKEN": token}
    sender = supervisor.start("send", send, env=env, once=True)
    said = supervisor.finish(sender, "the demonstration failed", SEND_SECONDS)
    supervisor.announce(f"Demonstration: {said[-1] if said else settings.ISTORE_URL}")


def _install(supervisor: Supervisor) -> None:
    lock = settings.BASE_DIR / "demo" / "requirements.lock"
    stamp = Path(sys.prefix, ".installed-demo-requirements.lock")
    if stamp.exists() and stamp.read_bytes() == lock.read_bytes():
        return
    if find_spec("pip") is None:
        raise Failed(f"demo: this environment has no pip, which installs {lock}.")
    supervisor.announce("Installing demo/requirements.lock (once)")
    pip = [sys.executable, "-m", "pip", "install", "-qq"]
    options = ["--disable-pip-version-check", "--require-hashes", "-r", str(lock)]
    installer = supervisor.start("pip", [*pip, *options], once=True)
    why = "the demonstration's packages could not be installed"
    supervisor.finish(installer, why, INSTALL_SECONDS)
    stamp.write_bytes(lock.read_bytes())
