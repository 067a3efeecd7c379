from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import OperationalError

from inferences.store.partitions import make_ahead, upper_bound
from istore.db.clock import now


class Command(BaseCommand):
    help = "Make the partitions that inferences of the next 60 days will need."

    def handle(self, **options: Any) -> str:
        try:
            made = make_ahead(now())
        except OperationalError as error:
            raise CommandError(f"Try again: {' '.join(str(error).split())}") from None
        lines = [f"Made a partition that starts on {start:%Y-%m-%d}." for start in made]
        return "\n".join([*lines, f"There is room until {upper_bound():%Y-%m-%d}."])
