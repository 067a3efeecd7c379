from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError

from inferences.ground_truth.files import (
    NAMES,
    Options,
    form_of,
    rows_of,
    unpacked,
)
from inferences.ground_truth.joining import join
from inferences.management.naming import add_model_arguments, named_model
from inferences.models import RegisteredModel
from istore.errors import StoreError
from istore.management.store_command import StoreCommand

ACTOR = "command import_ground_truth"


class Command(StoreCommand):
    help = (
        "Give inferences what came true of them, from NDJSON, CSV or Parquet files; what "
        "is not here yet waits for its inference, and repeats change nothing."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_model_arguments(parser)
        parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
        parser.add_argument("--form", choices=list(NAMES), help="Else by the name.")
        parser.add_argument(
            "--delimiter", help="comma, semicolon, tab or bar; else by the first line."
        )
        parser.add_argument(
            "--missing", help="Words between commas that are gaps, instead of NaN, NA …"
        )
        parser.add_argument(
            "--join-by",
            help="Of coco, yolo, voc and label_studio: inference_id, data_hash or "
            "metadata.<key> that the names of pictures are.",
        )
        parser.add_argument(
            "--ignore-unknown", action="store_true", help="Skip other columns."
        )

    def handle(
        self,
        *,
        model_id: str,
        project: str | None,
        files: list[Path],
        form: str | None,
        delimiter: str | None,
        missing: str | None,
        join_by: str | None,
        ignore_unknown: bool,
        **options: Any,
    ) -> None:
        model = named_model(model_id, project)
        for path in files:
            if not path.is_file():
                raise CommandError(f"There is no file {path}.")
            if not (form or form_of(path.name)):
                raise CommandError(f"{path}: say --form, the name tells none.")
        given = {"delimiter": delimiter, "missing": missing, "join_by": join_by}
        given["ignore_unknown"] = "true" if ignore_unknown else "false"
        told = Options.read({k: v for k, v in given.items() if v is not None})
        refused = sum(self._join(model, path, form, told) for path in files)
        if refused:
            raise CommandError(f"{refused} actuals were refused.")

    def _join(
        self, model: RegisteredModel, path: Path, form: str | None, options: Options
    ) -> int:
        said = form or form_of(path.name) or ""
        try:
            with open(path, "rb") as packed, unpacked(packed) as file:
                told = join(ACTOR, model, rows_of(file, said, model, options))
        except StoreError as error:
            raise CommandError(f"{path}: {error!s}") from None
        for refusal in told.refusals:
            self.stderr.write(f"{path.name}, {refusal.place}: {refusal.why}")
        self.stdout.write(
            f"{path.name}: {told.actuals:,} actuals, {told.joined:,} inferences joined "
            f"({told.changed:,} changed), {told.waiting:,} waiting, "
            f"{told.removed:,} of removed inferences, {told.refused:,} refused"
        )
        return told.refused
