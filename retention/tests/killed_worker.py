"""Worker processes to be killed: one that has imported everything, and forks on request.

``python -m retention.tests.killed_worker <database> <blobs>`` reads task ids, one a line;
for each it forks a process that carries the task out, and writes its number. A fork takes
milliseconds where a start takes seconds, so hundreds can be killed in a minute.
"""

from __future__ import annotations

import os
import sys

import django


def serve(database: str, location: str) -> None:
    from django.conf import settings
    from django.db import connection, connections

    settings.DATABASES["default"]["NAME"] = database
    connections.databases["default"]["NAME"] = database
    settings.STORAGES["default"]["OPTIONS"]["location"] = location
    from retention.tasks import run_retention_task

    for line in sys.stdin:
        worker = os.fork()
        if worker == 0:
            ended = 1
            try:
                run_retention_task(line.strip())
                ended = 0
            finally:
                os._exit(ended)
        print(worker, flush=True)
        _, status = os.waitpid(worker, 0)
        print(status, flush=True)
        assert connection.connection is None  # forks would share it


if __name__ == "__main__":
    os.environ["DJANGO_SETTINGS_MODULE"] = "istore.settings"
    django.setup()
    serve(*sys.argv[1:])
