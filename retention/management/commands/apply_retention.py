"""Apply the retention policy of one model, here and now."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from istore.problems import Conflict
from istore.tracking import TaskState
from retention import policies
from retention.models import RetentionPolicy
from retention.sweeping import sweep


class Command(BaseCommand):
    help = "Apply the retention policy of one model, here and now."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("model_id")
        parser.add_argument("--dry-run", action="store_true", help="count, but keep")

    def handle(self, *, model_id: str, dry_run: bool, **options: Any) -> str:
        found = RetentionPolicy.objects.select_related("model__project")
        policy = found.filter(model__model_id=model_id).first()
        if policy is None:
            raise CommandError(f"Model {model_id} has no retention policy.")
        try:
            task = policies.open_task(
                "manage.py apply_retention", policy, dry_run=dry_run
            )
        except Conflict as error:
            raise CommandError(str(error)) from None
        sweep(task)
        task.refresh_from_db()
        if task.state != TaskState.COMPLETE:
            raise CommandError(f"The task is {task.state}. {task.reason}".strip())
        if dry_run:
            return (
                f"{task.total_blob_count} inputs ({task.total_bytes} bytes) and "
                f"{task.total_record_count} records would be removed."
            )
        return (
            f"{task.deleted_blob_count} of {task.total_blob_count} inputs and "
            f"{task.deleted_record_count} of {task.total_record_count} records removed."
        )
