"""``/health/live``: the process answers. ``/health/ready``: what it stands on does too."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from django.conf import settings
from django.core.files.storage import storages
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, JsonResponse

from istore import blobs
from istore.tasks.broker import connect, reading

# What must answer, and what is worth saying while it does: a check returns a sentence
# when something is wrong. Apps add theirs in ``AppConfig.ready``.
Check = Callable[[], str | None]
needed: dict[str, Check] = {}
watched: dict[str, Check] = {}


def live(request: HttpRequest) -> JsonResponse:
    return JsonResponse({"status": "live"})


def ready(request: HttpRequest) -> JsonResponse:
    """200 ``ready``, 200 ``degraded`` with reasons, or 503 ``unavailable``."""
    reasons = failing(needed)
    if reasons:
        content = {"status": "unavailable", "reasons": reasons}
        return JsonResponse(content, status=503, headers={"Retry-After": "2"})
    worrying = failing(watched)
    status = "degraded" if worrying else "ready"
    return JsonResponse({"status": status, "reasons": worrying})


def failing(checks: dict[str, Check]) -> dict[str, str]:
    """The reasons of those that are not as they should be, by name."""
    found = {}
    for name, check in checks.items():
        try:
            if reason := check():
                found[name] = reason
        except Exception as error:  # whatever it is, that is the answer
            found[name] = type(error).__name__
    return found


_migrated = False


def database() -> str | None:
    """That the database answers and has every migration."""
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
    with connect(settings.ISTORE_REDIS_URL, seconds=2) as client, reading("PING"):
        client.ping()
    return None


def blob_store() -> str | None:
    """That blobs can be put: the bucket is there and lets us in, or the disk has room."""
    return blobs.trouble()


def export_destinations() -> str | None:
    """That the buckets of scheduled exports are there and let us in."""
    for name in settings.ISTORE_EXPORT_DESTINATIONS:
        if reason := storages[f"export:{name}"].trouble():
            return f"{name}: {reason}"
    return None


def soon(moment: datetime | None, days: int) -> bool:
    """Whether the moment is nearer than so many days, or unknown."""
    return moment is None or moment < datetime.now(UTC) + timedelta(days=days)


needed["database"] = database
watched["broker"] = broker
blob_stores: dict[str, Check] = {
    "blobs": blob_store,
    "export destinations": export_destinations,
}
watched.update(blob_stores)
