from __future__ import annotations

import gc
import signal
import threading
from typing import Any

from django.core.management.base import BaseCommand

from ingest import telemetry
from ingest.listener import Listener
from ingest.stream import EventStream
from istore.telemetry import metrics, startup


class Command(BaseCommand):
    help = "Record what the proxy published, until told to stop."
    requires_system_checks = ()  # of URLs and admin, which it has no use for

    def handle(self, **options: Any) -> None:
        stopping = threading.Event()
        for name in (signal.SIGTERM, signal.SIGINT):
            signal.signal(name, lambda *_: stopping.set())
        # A batch is thousands of objects that are no garbage before it is done.
        gc.freeze()
        gc.set_threshold(100_000, 20, 100)
        telemetry.begin()
        startup.begin(metrics.LISTENER)
        stream = EventStream()
        listener = Listener(stream, stopping)
        try:
            listener.run()
        finally:
            listener.counts.tell()
            stream.close()
