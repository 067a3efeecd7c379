"""Make the external servers ready for the roles, once per release: the job before all others."""

from __future__ import annotations

import time
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError

from istore.checks import health
from istore.errors import StoreError
from supervisor import bucket, external, first_run
from supervisor.stack import apply_migrations

PAUSE_SECONDS = 0.5


class Command(BaseCommand):
    help = "Waits for database and broker, migrates, and makes the first administrator."
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--make-bucket", action="store_true", help="if ISTORE_S3_BUCKET is missing"
        )

    def handle(self, *, make_bucket: bool, **options: Any) -> None:
        for name, is_given in (
            ("ISTORE_DATABASE_URL", external.database_is_given()),
            ("ISTORE_REDIS_URL", external.redis_is_given()),
        ):
            if not is_given:
                raise CommandError(
                    f"{name}: is missing; `up` brings servers of its own."
                )
        try:
            for warning in external.check(lambda: time.sleep(PAUSE_SECONDS)):
                self.stdout.write(warning)
            apply_migrations()
        except external.Unreachable as error:
            raise CommandError(str(error)) from None
        except DatabaseError as error:
            raise CommandError(f"migrate: {' '.join(str(error).split())}") from None
        if make_bucket:
            try:
                bucket.make_bucket()
            except StoreError as error:
                raise CommandError(str(error)) from None
        for name, reason in health.failing(health.blob_stores).items():
            self.stdout.write(f"{name}: {reason}")
        try:
            secrets = first_run.create_first_user()
        except first_run.WeakPassword as error:
            raise CommandError(str(error)) from None
        for line in first_run.lines_about(secrets):
            self.stdout.write(line)
        self.stdout.write("Ready for the roles.")
