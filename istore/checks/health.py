"""Health checks: ``/health/live`` and ``/health/ready``.

"Live" says that the process answers; "ready" says that what it needs answers, too.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from django.conf import settings
from django.core.files.storage import storages
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, JsonResponse

from istore import blobs
from istore.draining import is_draining
from istore.hooks import Hook
from istore.tasks.broker import connect, reading

# A check returns a sentence when something is wrong. A failing one in ``needed`` makes the
# store unavailable, in ``watched`` only degraded. Apps register theirs.
Check = Callable[[], str | None]
needed: Hook[Check] = Hook()
watched: Hook[Check] = Hook()


def live(request: HttpRequest) -> JsonResponse:
    """Answer 200 as long as the process does."""
    return JsonResponse({"status": "live"})


def ready(request: HttpRequest) -> JsonResponse:
    """Answer 200 ``ready``, 200 ``degraded`` with reasons, or 503 ``unavailable``."""
    stopping = {"server": "It is stopping."} if is_draining() else {}
    reasons = stopping or failing(needed)
    if reasons:
        content = {"status": "unavailable", "reasons": reasons}
        return JsonResponse(content, status=503, headers={"Retry-After": "2"})
    worrying = failing(watched)
    status = "degraded" if worrying else "ready"
    return JsonResponse({"status": status, "reasons": worrying})


def failing(checks: dict[str, Check]) -> dict[str, str]:
    """Return the reasons of the failing checks, by name."""
    found = {}
    for name, check in checks.items():
        try:
            if reason := check():
                found[name] = reason
        except Exception as error:  # any exception means that the check fails
            found[name] = type(error).__name__
    return found


_migrated = False


def database() -> str | None:
    """Return None if the database answers and has every migration, else the reason."""
    global _migrated
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    if not _migrated:
        executor = MigrationExecutor(connection)
        if executor.migration_plan(executor.loader.graph.leaf_nodes()):
            return "Migrations are missing: manage.py migrate."
        _migrated = True
    return None


def broker() -> str | None:
    """Return None if Valkey answers a ping; raise otherwise."""
    with connect(settings.ISTORE_REDIS_URL, seconds=2) as client, reading("PING"):
        client.ping()
    return None


def blob_store() -> str | None:
    """Return why blobs cannot be put, or None: the bucket is missing, or the disk is full."""
    return blobs.trouble()


def old_versions() -> str | None:
    """Return a warning if removed blobs may stay as old versions of a bucket, else None."""
    return blobs.old_versions()


def export_destinations() -> str | None:
    """Return why the bucket of a scheduled export cannot be used, or None."""
    for name in settings.ISTORE_EXPORT_DESTINATIONS:
        bucket: Any = storages[f"export:{name}"]
        if reason := bucket.trouble():
            return f"{name}: {reason}"
    return None


def soon(moment: datetime | None, days: int) -> bool:
    """Return whether the moment is less than so many days away, or unknown."""
    return moment is None or moment < datetime.now(UTC) + timedelta(days=days)


needed.register("database", database)
watched.register("broker", broker)
blob_stores: dict[str, Check] = {
    "blobs": blob_store,
    "export destinations": export_destinations,
}
watched.update(blob_stores)
watched.register("old versions", old_versions)
