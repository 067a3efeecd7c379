from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

import redis
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from proxy.spool.replaying import replay
from proxy.spool.spool_health import files_aside


class Command(BaseCommand):
    help = (
        "Try again what the capture process set aside: *.set-aside and *.damaged files "
        "of the spool. Files that gave all they held are removed."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--list", action="store_true", help="only say which files there are"
        )
        parser.add_argument(
            "--discard",
            action="store_true",
            help="remove damaged files, too, once their whole entries are stored",
        )

    def handle(self, *, list: bool, discard: bool, **options: Any) -> None:
        directory = settings.ISTORE_SPOOL_DIR
        if list or not files_aside(directory):
            for path in files_aside(directory):
                self.stdout.write(f"{path.name}\t{path.stat().st_size} bytes")
            return
        left = 0
        try:
            for done in replay(directory, discard=discard):
                summary = f"{done.path.name}: {done.inferences} inferences published"
                if done.lost:
                    summary += f", {done.lost} entries are damaged"
                if done.problem:
                    summary += f"; not readable: {done.problem}"
                left += not done.is_done
                self.stdout.write(summary + ".")
        except (redis.RedisError, OSError) as error:
            raise CommandError(f"Broken off: {error}") from None
        if left:
            raise CommandError(f"{left} files could not be replayed whole.")
