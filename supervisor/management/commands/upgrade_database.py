"""Move the embedded database to the PostgreSQL of this release."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from istore import env
from istore.errors import StoreError
from supervisor.database_upgrade import upgrade_home


class Command(BaseCommand):
    help = (
        "Move the embedded database in ISTORE_HOME, whose store must not be running, to the "
        "PostgreSQL of this release. The old directory stays until you remove it."
    )
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--clone",
            action="store_true",
            help="share blocks instead of copying files (Btrfs, XFS, APFS)",
        )

    def handle(self, *, clone: bool, **options: Any) -> None:
        if env.text("ISTORE_DATABASE_URL"):
            raise CommandError(
                "ISTORE_DATABASE_URL names an external database: upgrade it where it runs."
            )
        try:
            done = upgrade_home(settings.ISTORE_HOME, self._line, clone=clone)
        except (StoreError, OSError) as error:
            raise CommandError(" ".join(str(error).split())) from None
        if done is None:
            self._line("The database has the version of this release.")
            return
        self._line(
            f"The database is of PostgreSQL {done.after}. Start the store with manage.py up. "
            f"The old directory is {done.kept}: remove it once you are content."
        )

    def _line(self, text: str) -> None:
        self.stdout.write(text)
        self.stdout.flush()
