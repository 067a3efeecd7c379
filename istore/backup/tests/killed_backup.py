"""A backup in a process of its own, which may be killed."""

from __future__ import annotations

from django.conf import settings
from django.core.management import call_command
from django.db import connections


def back_up(database: str, location: str, target: str) -> None:
    """Make a backup of the store with this database and these blobs, and keep one."""
    settings.DATABASES["default"]["NAME"] = database
    connections.databases["default"]["NAME"] = database
    settings.STORAGES["default"]["OPTIONS"]["location"] = location
    call_command("backup", target, "--keep", "1", "--quiet")
