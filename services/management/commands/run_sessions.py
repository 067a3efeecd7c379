from __future__ import annotations

import signal
import threading
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from istore.child_process import Journal
from services.runners.commands import BadCommands, listed
from services.runners.processes import ProcessRunner


class Command(BaseCommand):
    help = "Run the processes of inference sessions, until told to stop."
    requires_system_checks = ()

    def handle(self, **options: Any) -> None:
        try:
            listed()  # errors of the file show at the start; later ones go to the log
        except BadCommands as error:
            raise CommandError(f"ISTORE_PROCESSES_FILE: {error}") from None
        stopping = threading.Event()
        for name in (signal.SIGTERM, signal.SIGINT):
            signal.signal(name, lambda *_: stopping.set())
        path = settings.ISTORE_HOME.root / "log" / "sessions.log"
        journal = Journal(path, echo=False)
        try:
            ProcessRunner(journal, stopping).run()
        finally:
            journal.close()
