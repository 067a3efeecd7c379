from __future__ import annotations

import sys
from argparse import ArgumentParser
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError

from inferences.api.creating import read_frame_row
from inferences.imports.api.record_lines import is_record
from inferences.imports.exported_records import Restored, restore, store_records
from inferences.imports.inference_files import files_in, rows_of
from inferences.management.naming import add_model_arguments, named_model
from inferences.models import RegisteredModel
from inferences.store.creation import compose, record_batch
from inferences.store.recording import NewInference, Outcome
from istore.db import clock
from istore.errors import StoreError
from istore.management.store_command import StoreCommand

ACTOR = "command import_inferences"
TOLD_REFUSALS = 20
WORDS = {
    Outcome.NEW: "stored",
    Outcome.COPY: "there before",
    Outcome.OTHER: "refused",
    Outcome.REMOVED: "refused",
}


class Command(StoreCommand):
    help = (
        "Store the inferences of NDJSON, JSON or Parquet files, or of directories of them; "
        "repeats store nothing twice."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_model_arguments(parser)
        parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
        parser.add_argument("--batch", type=int, default=1000, choices=range(1, 10_001))

    def handle(
        self,
        *,
        model_id: str,
        project: str | None,
        files: list[Path],
        batch: int,
        **options: Any,
    ) -> None:
        model = named_model(model_id, project)
        for path in files:
            if not path.exists():
                raise CommandError(f"There is no file {path}.")
        self.counts: Counter[str] = Counter()
        for path in files:
            for each in files_in(path):
                self._import(model, each, batch)
        self._progress(end="\n")
        if self.counts["refused"]:
            raise CommandError(f"{self.counts['refused']} inferences were refused.")

    def _import(self, model: RegisteredModel, path: Path, size: int) -> None:
        waiting: dict[str, tuple[str, NewInference]] = {}
        now = clock.now()
        for place, body in rows_of(path, model):
            try:
                if isinstance(body, StoreError):
                    raise body
                new = self._new(model, body, path, now)
            except StoreError as error:
                self._refuse(place, str(error))
                continue
            if new.inference_id in waiting or len(waiting) == size:
                self._store(model, waiting)
                now = clock.now()
            waiting[new.inference_id] = place, new
        self._store(model, waiting)

    def _new(
        self, model: RegisteredModel, body: Any, path: Path, now: datetime
    ) -> NewInference:
        """A record of an export as it was, a create as it would be made now."""
        if is_record(body):
            return restore(model, body, path.parent, now)
        return compose(model, read_frame_row(model, body), now)

    def _store(
        self, model: RegisteredModel, waiting: dict[str, tuple[str, NewInference]]
    ) -> None:
        """Store what waits, and leave nothing waiting."""
        if not waiting:
            return
        batch = [new for _, new in waiting.values()]
        records = [new for new in batch if isinstance(new, Restored)]
        creates = [new for new in batch if not isinstance(new, Restored)]
        outcomes = record_batch(ACTOR, model, creates) if creates else {}
        outcomes |= store_records(ACTOR, model, records) if records else {}
        for inference_id, outcome in outcomes.items():
            self.counts[WORDS[outcome]] += 1
            if WORDS[outcome] == "refused":
                place, _ = waiting[inference_id]
                self._tell(f"{place}: {inference_id} has other content or was removed.")
        waiting.clear()
        self._progress()

    def _refuse(self, place: str, why: str) -> None:
        self.counts["refused"] += 1
        self._tell(f"{place}: {why}")

    def _tell(self, line: str) -> None:
        if self.counts["refused"] <= TOLD_REFUSALS:
            self.stderr.write(line)

    def _progress(self, end: str = "\r") -> None:
        if end == "\n" or sys.stdout.isatty():
            told = ", ".join(f"{n:,} {word}" for word, n in sorted(self.counts.items()))
            self.stdout.write(told or "nothing to store", ending=end)
