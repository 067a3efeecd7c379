"""A worker that may be killed in the middle of an erasure."""

from __future__ import annotations

from django.conf import settings
from django.db import connections

from inferences.tasks import run_erasure


def carry_out(database: str, location: str, task_id: str) -> None:
    """Carry out an erasure of the store with this database and these blobs."""
    settings.DATABASES["default"]["NAME"] = database
    connections.databases["default"]["NAME"] = database
    settings.STORAGES["default"]["OPTIONS"]["location"] = location
    run_erasure(task_id)
