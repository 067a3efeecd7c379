"""Restore a backup into an empty home."""

from __future__ import annotations

import time
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError

from istore.backup import erasure_lists, restoring
from istore.backup.restoring import Restore
from istore.backup.targets import open_target
from istore.errors import StoreError
from supervisor import bucket
from supervisor.restored_home import restore_home, unlisted_proofs

LINE_SECONDS = 5.0
# What ends a restore with one line: backup, home, database or bucket cannot be used.
FAILURES = (StoreError, OSError, DatabaseError, BotoCoreError, ClientError)


class Command(BaseCommand):
    help = (
        "Restore a backup into ISTORE_HOME, whose store must not be running. Exit status 0: "
        "restored and verified; 1: restored, with findings; 2: not restored."
    )
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("source", help="an absolute path or s3://bucket/prefix")
        parser.add_argument(
            "--backup", default="", help="the name of a backup; without it the newest"
        )
        parser.add_argument(
            "--replace",
            action="store_true",
            help="into a home that is not empty: its database is replaced",
        )
        parser.add_argument(
            "--erasures",
            type=Path,
            metavar="FILE",
            help="erase again what this list names, before the store is used",
        )
        parser.add_argument(
            "--proofs",
            type=Path,
            metavar="FILE",
            help="reports of erasures, to tell which newer ones --erasures lacks",
        )
        parser.add_argument(
            "--make-bucket", action="store_true", help="if ISTORE_S3_BUCKET is missing"
        )
        parser.add_argument(
            "--skip-verify",
            action="store_true",
            help="do not hash every blob at the end",
        )

    def handle(
        self,
        *,
        source: str,
        backup: str,
        replace: bool,
        erasures: Path | None,
        proofs: Path | None,
        make_bucket: bool,
        skip_verify: bool,
        **options: Any,
    ) -> None:
        self._last = "", 0.0
        try:
            target = open_target(source)
            restore = Restore(
                target,
                restoring.find(target, backup),
                settings.ISTORE_HOME,
                self._progress,
            )
            wanted = erasure_lists.read_list(erasures) if erasures else []
            reports = erasure_lists.read_proofs(proofs) if proofs else []
            unlisted = unlisted_proofs(restore, reports, wanted)
            if make_bucket:
                bucket.make_bucket()
            is_well = restore_home(
                restore,
                self._line,
                replace=replace,
                erasures=wanted,
                verify=not skip_verify,
            )
        except FAILURES as error:
            text = " ".join(str(error).split())
            raise CommandError(text, returncode=2) from None
        for problem in restore.problems:
            self.stderr.write(problem)
        for name in unlisted:
            self.stderr.write(
                f"erasure {name} is newer than the backup and not in the list: ask for it again"
            )
        self._tell(restore, has_list=erasures is not None)
        if not is_well or unlisted:
            raise SystemExit(1)

    def _tell(self, restore: Restore, *, has_list: bool) -> None:
        manifest = restore.manifest
        self._line(
            f"restored {manifest.name}: data of {manifest.snapshot_at}, "
            f"{manifest.blobs} blobs, {len(restore.problems)} missing or damaged."
        )
        if not has_list:
            self._line(
                f"What was erased after {manifest.snapshot_at} is back: erase it again "
                "(docs/backup.md)."
            )

    def _progress(self, step: str, done: int, of: int) -> None:
        last, at = self._last
        now = time.monotonic()
        if step == last and now < at + LINE_SECONDS and done < of:
            return
        self._last = step, now
        self._line(f"{step}: {done} of {of}" if of else step)

    def _line(self, text: str) -> None:
        self.stdout.write(text)
        self.stdout.flush()
