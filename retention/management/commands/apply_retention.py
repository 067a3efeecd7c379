"""Apply the retention policy of one model, here and now."""

from __future__ import annotations

import time
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from inferences.management.naming import add_model_arguments, named_model
from istore.management.store_command import StoreCommand
from istore.tasks.tracking import TaskState
from retention import policies
from retention.models import RetentionPolicy
from retention.sweeping import sweep

POLL_SECONDS = 0.2


class Command(StoreCommand):
    help = "Apply the retention policy of one model, here and now."

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_model_arguments(parser)
        parser.add_argument("--dry-run", action="store_true", help="count, but keep")

    def handle(
        self, *, model_id: str, project: str | None, dry_run: bool, **options: Any
    ) -> str:
        found = RetentionPolicy.objects.select_related("model__project")
        policy = found.filter(model=named_model(model_id, project)).first()
        if policy is None:
            raise CommandError(f"Model {model_id} has no retention policy.")
        task = policies.open_task("manage.py apply_retention", policy, dry_run=dry_run)
        while task.is_active and not sweep(task):  # a worker was told of it, too
            time.sleep(POLL_SECONDS)
            task.refresh_from_db()
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
