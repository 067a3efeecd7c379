"""A receiver gets ``kill -9`` in the middle of requests: what it acknowledged is there, once.

``SPAN_KILLS`` says how often; by hand, for instance::

    SPAN_KILLS=200 python -m pytest -n0 -s traces/tests/test_span_kills.py
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time

import pytest
from django.conf import settings as django_settings
from django.db import connection

from inferences.models import Inference
from istore import blobs
from istore.checks.verification import Scope, checks
from istore.db.clock import now
from traces.models import Span
from traces.tests.killed_sender import REQUESTS, SPANS, request

KILLS = int(os.environ.get("SPAN_KILLS", "8"))

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(sys.platform == "win32", reason="forks"),
]


@pytest.fixture
def receiver(blob_directory, secret):
    """A process to be asked for forks that post requests."""
    argv = [sys.executable, "-m", "traces.tests.killed_sender"]
    process = subprocess.Popen(
        [*argv, connection.settings_dict["NAME"], str(blob_directory), secret],
        cwd=django_settings.BASE_DIR,
        env={**os.environ, "ISTORE_LOG_LEVEL": "ERROR"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    yield process
    process.stdin.close()
    process.wait(30)
    process.stdout.close()


def post_from(receiver: subprocess.Popen, first: int, killed_after: float) -> set[int]:
    """Return the requests that were acknowledged until the fork was killed, or came to its end."""
    receiver.stdin.write(f"{first}\n")
    receiver.stdin.flush()
    child = int(receiver.stdout.readline().split()[1])
    timer = threading.Timer(killed_after, os.kill, (child, signal.SIGKILL))
    timer.start()
    found = set()
    while (line := receiver.stdout.readline().strip()) != "ended":
        found.add(int(line))
    timer.cancel()
    return found


def test_what_was_acknowledged_is_stored_once_whenever_the_receiver_is_killed(
    receiver, send
):
    chance = random.Random(7)
    acknowledged: set[int] = set()
    for _ in range(KILLS):
        first = max(max(acknowledged, default=0) - 1, 0)
        acknowledged |= post_from(receiver, first, 0.15 + chance.random())
        time.sleep(0.1)  # the database ends the transaction of the killed one
        for number in acknowledged:
            trace_ids = [number * 100 + place + 1 for place in range(SPANS)]
            ids = [each.to_bytes(8) for each in trace_ids]
            assert Span.objects.filter(span_id__in=ids).count() == SPANS
    for number in range(REQUESTS):
        assert send(request(number)).content == b""
    assert Inference.objects.count() == Span.objects.count() == REQUESTS * SPANS
    assert list(checks["rows"].look(Scope(now()))) == []
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT data_storage_key FROM inferences_inferencepayload WHERE data_storage_key <> ''"
        )
        keys = [key for (key,) in cursor]
    assert len(keys) == len(set(keys))
    assert all(blobs.exists(key) for key in keys)
