"""Create and retry export tasks. Each act is audited."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from django.conf import settings
from django.db import OperationalError, transaction

from exports.models import Container, ExportTask
from exports.selections import Selection
from inferences.models import RegisteredModel
from istore.db.statement_timeout import is_timeout, statement_timeout
from istore.errors import RateLimited, Unprocessable
from istore.models import Project
from istore.tasks import control

RETRY_AFTER_SECONDS = 30


@dataclass(frozen=True, slots=True)
class Wanted:
    """The archive that a caller asks for; ``asked`` is the selection as the task stores it."""

    selection: Selection
    asked: dict[str, Any]
    format: str = "chariot"
    container: str = Container.ZIP
    options: dict[str, Any] = field(default_factory=dict)


def open_task(actor: object, model: RegisteredModel, wanted: Wanted) -> ExportTask:
    """Create a task for a worker.

    Raises ``Unprocessable`` for too many inferences, and ``RateLimited`` for too many open tasks.
    """
    count = expected(model, wanted.selection)
    with transaction.atomic():
        _check_room(model.project)
        task = ExportTask.objects.create(
            model=model,
            created_by=str(actor)[:300],
            format=wanted.format,
            container=wanted.container,
            options=wanted.options,
            selection=wanted.asked,
            expected_count=count or 0,
        )
        task.audit(actor, "create", format=task.format, expected=count)
        task.notify()
    task.refresh_from_db()
    return task


def expected(model: RegisteredModel, selection: Selection) -> int | None:
    """Return how many inferences are chosen now, or None if the count exceeds the timeout.

    Raises ``Unprocessable`` for more than ``ISTORE_EXPORT_MAX``.
    """
    most = settings.ISTORE_EXPORT_MAX
    try:
        with statement_timeout():
            count = selection.count(model, most)
    except OperationalError as error:
        if not is_timeout(error):
            raise
        return None
    if count > most:
        message = f"More than {most:,} inferences are chosen. Go in parts."
        raise Unprocessable("too-many-matches", message)
    return count


@transaction.atomic
def retry(actor: object, task: ExportTask) -> bool:
    """Start a failed or stopped task again. Return False for any other task.

    Raises ``RateLimited`` for too many open tasks.
    """
    _check_room(task.model.project)
    return control.resume(actor, task)


def _check_room(project: Project) -> None:
    # The lock on the project keeps two callers from taking the last place both.
    Project.objects.select_for_update().get(pk=project.pk)
    active = ExportTask.objects.active().filter(model__project=project)
    if active.count() >= settings.ISTORE_EXPORTS_RUNNING:
        message = f"{settings.ISTORE_EXPORTS_RUNNING} exports of this project are open."
        raise RateLimited("rate-limited", message, retry_after=RETRY_AFTER_SECONDS)
