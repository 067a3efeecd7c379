"""``manage.py pack_blobs``: put what is stored as single objects into packs."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from inferences.maintenance.packing_stored import pack_model
from inferences.models import RegisteredModel


class Command(BaseCommand):
    help = (
        "Put the records that are stored as objects of their own into packs. It may run "
        "beside the store, be interrupted at any moment, and be started again."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--model", metavar="ID", help="Only this model, in every project."
        )

    def handle(self, *args: object, **options: Any) -> None:
        models = RegisteredModel.objects.select_related("project").order_by("pk")
        if options["model"]:
            models = models.filter(model_id=options["model"])
            if not models:
                raise CommandError(f"There is no model {options['model']!r}.")
        total = 0
        try:
            for model in models:
                packed = 0
                for progress in pack_model(model):
                    packed += progress.packed
                    if options["verbosity"] > 1:
                        self.stdout.write(f"{model.project}/{model}: {packed} packed")
                if packed:
                    self.stdout.write(f"{model.project}/{model}: {packed} packed.")
                total += packed
        except KeyboardInterrupt:
            self.stdout.write(
                f"Stopped after {total} records; start it again any time."
            )
            return
        self.stdout.write(f"{total} records were packed.")
