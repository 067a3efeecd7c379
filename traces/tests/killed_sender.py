"""A receiver of spans that is killed: one that has imported everything, and forks on request.

``python -m traces.tests.killed_sender <database> <blobs> <token>`` reads a number a line; for each it
forks a process that posts the requests from this one on, as the web server would get them, and
prints the number of each that was acknowledged. It prints ``ended`` when the fork is gone.
"""

from __future__ import annotations

import os
import sys

import django

REQUESTS, SPANS = 40, 8


def request(number: int):
    """Return the request of this number: some spans of three models, the same whenever asked."""
    from traces.tests.builders import OPENINFERENCE, SECOND, request_of

    start = 1_780_000_000 * SECOND + number * SECOND
    kinds = ("TOOL", "CHAIN")
    return request_of(
        *(
            {
                "id": number * 100 + place + 1,
                "parent": number * 100 + 1,
                "start": start + place,
                "attributes": OPENINFERENCE
                if place % 2
                else {"openinference.span.kind": kinds[place % 4 // 2]},
            }
            for place in range(SPANS)
        )
    )


def serve(database: str, location: str, secret: str) -> None:
    from django.conf import settings
    from django.db import connection, connections
    from django.test import Client

    settings.DATABASES["default"]["NAME"] = database
    connections.databases["default"]["NAME"] = database
    settings.STORAGES["default"]["OPTIONS"]["location"] = location
    settings.ALLOWED_HOSTS = ["testserver"]
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            client = Client()
            for number in range(int(line), REQUESTS):
                response = client.post(
                    "/v1/traces",
                    request(number).SerializeToString(),
                    content_type="application/x-protobuf",
                    headers={"authorization": f"Bearer {secret}"},
                )
                if response.status_code == 200 and not response.content:
                    print(number, flush=True)
            os._exit(0)
        print(f"pid {child}", flush=True)
        os.waitpid(child, 0)
        print("ended", flush=True)
        assert connection.connection is None  # forks would share it


if __name__ == "__main__":
    os.environ["DJANGO_SETTINGS_MODULE"] = "istore.settings"
    django.setup()
    serve(*sys.argv[1:])
