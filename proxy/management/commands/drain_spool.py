from __future__ import annotations

import time
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from proxy.backlog import waiting_in

PAUSE_SECONDS = 0.2
LONGEST_SECONDS = 86_400


class Command(BaseCommand):
    help = (
        "Waits until the spool is empty, beside its proxy and before that is stopped."
    )
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--seconds", type=int, default=60, help="at most (60)")

    def handle(self, *, seconds: int, **options: Any) -> str:
        if not 0 <= seconds <= LONGEST_SECONDS:
            raise CommandError(f"--seconds: is not between 0 and {LONGEST_SECONDS}.")
        deadline = time.monotonic() + seconds
        while size := _waiting():
            if time.monotonic() > deadline:
                raise CommandError(
                    f"{size} bytes wait in the spool. They are captured when its proxy "
                    "starts again."
                )
            time.sleep(PAUSE_SECONDS)
        return "The spool is empty."


def _waiting() -> int:
    folder = settings.ISTORE_SPOOL_DIR
    return waiting_in(folder)[0] if folder.is_dir() else 0
