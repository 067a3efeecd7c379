"""A worker that is killed: ``python -m inferences.tests.killed_erasure <database> <blobs>
<task>`` carries out an erasure, with the failpoints of ``ISTORE_FAILPOINTS``."""

from __future__ import annotations

import os
import sys

import django


def carry_out(database: str, location: str, task_id: str) -> None:
    from django.conf import settings
    from django.db import connections

    settings.DATABASES["default"]["NAME"] = database
    connections.databases["default"]["NAME"] = database
    settings.STORAGES["default"]["OPTIONS"]["location"] = location
    from inferences.tasks import run_erasure

    run_erasure(task_id)


if __name__ == "__main__":
    os.environ["DJANGO_SETTINGS_MODULE"] = "istore.settings"
    django.setup()
    carry_out(*sys.argv[1:])
