from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from inferences.models import RegisteredModel
from inferences.store import class_migration


class Command(BaseCommand):
    help = (
        "Make the best class the label of stored classifications, at once rather than by "
        "the beat. May run again, and beside everything else."
    )

    def handle(self, **options: Any) -> str:
        for model in RegisteredModel.objects.exclude(awaits_classes_from=None):
            class_migration.tell_apart(model, tell=self.stdout.write)
        left = RegisteredModel.objects.exclude(awaits_classes_from=None).count()
        if left:
            return f"{left} models wait for rows that others hold; run it again."
        return "Every label of a classification is its best class."
