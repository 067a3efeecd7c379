from __future__ import annotations

import time
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError

from istore.backup import layout, secret_files, tasks
from istore.backup.blob_copies import Counts
from istore.backup.layout import Manifest
from istore.backup.making import Outcome
from istore.backup.targets import open_target
from istore.errors import BadInput, StoreError
from istore.management.store_command import StoreCommand

SECRETS = (
    "The backup holds the secrets of this installation (keys of sessions, links and metrics): "
    "whoever reads it can act as anybody. Keep it as you keep the store."
)
NO_SECRETS = (
    "The backup holds no secrets: this installation gets them by environment variables or "
    "files. Keep a copy of them elsewhere."
)
LINE_SECONDS = 5.0


class Command(StoreCommand):
    help = (
        "Back up database, blobs and secrets to a folder or bucket. Exit status 0: complete; "
        "1: complete, but objects that rows name are missing; 2: there is no new backup."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "target",
            nargs="?",
            default=settings.ISTORE_BACKUP_TARGET,
            help="an absolute path or s3://bucket/prefix; without it ISTORE_BACKUP_TARGET",
        )
        parser.add_argument(
            "--keep",
            type=int,
            default=settings.ISTORE_BACKUP_KEEP,
            metavar="N",
            help="keep the newest N backups of the target (%(default)s)",
        )
        parser.add_argument(
            "--list", action="store_true", help="list the backups of the target"
        )
        parser.add_argument("--quiet", action="store_true", help="show no progress")

    def handle(
        self, *, target: str, keep: int, list: bool, quiet: bool, **options: Any
    ) -> None:
        try:
            if not target:
                raise BadInput(
                    "backup-target", "Name a target, or set ISTORE_BACKUP_TARGET."
                )
            if list:
                self._list(target)
                return
            if keep < 1:
                raise BadInput("backup-keep", "--keep: keep at least 1.")
            open_target(target)
            task = tasks.open_backup(target, keep=keep, by="manage.py backup")
            outcome = tasks.carry_out(task, _Lines(self, quiet))
        except StoreError as error:
            raise CommandError(str(error), returncode=2) from None
        if outcome is None:
            task.stop()  # else a worker would try again what this command was asked for
            raise CommandError(f"No backup was made: {task.reason}", returncode=2)
        self._tell(outcome)
        if not outcome.is_whole:
            raise SystemExit(1)

    def _tell(self, outcome: Outcome) -> None:
        manifest = outcome.manifest
        for key in outcome.missing:
            self.stderr.write(f"missing: {key}")
        for key in outcome.damaged:
            self.stderr.write(f"damaged: {key}")
        self.stdout.write(
            f"{manifest.name}: {manifest.blobs} blobs, {outcome.bytes} bytes; "
            f"{manifest.copied} copied, {manifest.copied_bytes} bytes; "
            f"{manifest.gone} gone meanwhile, {len(outcome.missing)} missing, "
            f"{len(outcome.damaged)} damaged; {len(outcome.pruned)} old backups removed."
        )
        held = secret_files.read_secrets(settings.ISTORE_HOME)
        self.stdout.write(SECRETS if held else NO_SECRETS)

    def _list(self, target: str) -> None:
        storage = open_target(target)
        for name in layout.complete_backups(storage):
            manifest = Manifest.read(storage, name)
            size = manifest.blob_bytes + sum(
                each["size"] for each in manifest.files.values()
            )
            self.stdout.write(
                f"{name} data of {manifest.snapshot_at} {manifest.blobs} blobs {size} bytes"
            )


class _Lines:
    """Progress as lines: one for each step, and one every few seconds of a long one."""

    def __init__(self, command: Command, quiet: bool) -> None:
        self._command, self._quiet = command, quiet
        self._step, self._at = "", 0.0

    def __call__(self, step: str, counts: Counts, expected: int) -> None:
        now = time.monotonic()
        if self._quiet or (step == self._step and now < self._at + LINE_SECONDS):
            return
        self._step, self._at = step, now
        of = f" of about {expected}" if expected else ""
        self._command.stdout.write(
            f"{step}: {counts.looked_at}{of} blobs, {counts.copied} copied, "
            f"{counts.copied_bytes} bytes"
        )
