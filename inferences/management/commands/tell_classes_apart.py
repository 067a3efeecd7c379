from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from inferences import classes
from inferences.models import RegisteredModel


class Command(BaseCommand):
    help = (
        "Make the best class the label of stored classifications, at once rather than by "
        "the beat. May run again, and beside everything else."
    )

    def handle(self, **options: Any) -> str:
        for model in RegisteredModel.objects.exclude(awaits_classes_from=None):
            classes.tell_apart(model, tell=self.stdout.write)
        left = RegisteredModel.objects.exclude(awaits_classes_from=None).count()
        if left:
            return f"{left} models wait for rows that others hold; run it again."
        return "Every label of a classification is its best class."
