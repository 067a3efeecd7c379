"""The command lines of the store's own processes.

``up`` starts all of them beside each other (``supervisor.stack``), ``run`` is one of them.
"""

from __future__ import annotations

import sys

from django.conf import settings

MANAGE = [sys.executable, str(settings.BASE_DIR / "manage.py")]
LISTENER, SESSIONS = [*MANAGE, "listen"], [*MANAGE, "run_sessions"]
COLLECT = [*MANAGE, "collectstatic", "--noinput", "--clear", "--verbosity=0"]
# ``check`` of Django is for developers; it takes half a second of a processor.
CELERY = [
    *(sys.executable, "-m", "celery", "--quiet", "--skip-checks"),
    *("-A", "istore.celery"),
]
BEAT = [*CELERY, "beat", "--scheduler=istore.tasks.beat:SteadyScheduler", "--pidfile="]
PROXY = [sys.executable, "-m", "proxy.serve"]
# Only for the web process: each of its few threads keeps its connection to the database.
WEB_ENVIRONMENT = {"ISTORE_DATABASE_STAYS": "true"}
WORKER_THREADS, EXPORT_THREADS = 2, 2
# A second more than a server gives its calls in flight.
SERVER_GRACE = settings.ISTORE_DRAIN_SECONDS + settings.ISTORE_GRACE_SECONDS + 1
PROXY_GRACE = SERVER_GRACE + settings.ISTORE_DRAIN_SPOOL_SECONDS


def worker(node: str) -> list[str]:
    """Return the command of the worker for everything that takes seconds.

    Archives and layouts of embeddings take minutes: a worker of their own, ``exporter``, keeps
    removals from waiting behind them. A small machine has one worker for both.
    """
    queues = "celery,exports" if settings.ISTORE_SMALL else "celery"
    return _worker(node, queues, WORKER_THREADS)


def exporter(node: str) -> list[str]:
    """Return the command of the worker for everything that takes minutes."""
    return _worker(node, "exports", EXPORT_THREADS)


def _worker(node: str, queues: str, threads: int) -> list[str]:
    # Threads, because child processes of a worker could outlive it.
    alone = ["worker", "--pool=threads", "--without-gossip", "--without-mingle"]
    return [*CELERY, *alone, f"--concurrency={threads}", "-n", node, "-Q", queues]


def web() -> list[str]:
    """Return the command of the web server."""
    return [
        *(sys.executable, "-m", "istore.web_server"),
        f"--host={settings.ISTORE_HOST}",
        f"--port={settings.ISTORE_PORT}",
        "--interface=asginl",
        # Without it, one worker that ends stops the others.
        "--respawn-failed-workers",
        # Calls in flight are finished first, but only within the grace period.
        f"--workers-kill-timeout={settings.ISTORE_GRACE_SECONDS}",
        f"--workers={settings.ISTORE_WEB_WORKERS}",
        "istore.asgi:application",
    ]


def proxy() -> list[str]:
    """Return the command of one proxy process with a socket of its own."""
    address = settings.ISTORE_HOST, settings.ISTORE_PROXY_PORT
    return [*PROXY, f"--host={address[0]}", f"--port={address[1]}"]
