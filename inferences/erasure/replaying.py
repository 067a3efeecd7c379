"""Carry out again, here and now, erasures that are newer than the backup that was restored."""

from __future__ import annotations

from collections.abc import Mapping

from inferences.erasure.matching_records import Carried
from inferences.erasure.running import erase, open_erasure
from istore.errors import BadInput, StoreError
from istore.models import Project
from istore.tasks.tracking import TaskState

ACTOR, WHY = "manage.py restore", "Erased again after a restore."


def erase_again(erasure: Mapping[str, str]) -> str:
    """Carry out one erasure; return a sentence on it. Raises ``StoreError`` if it does not end."""
    project = Project.objects.filter(project_id=erasure["project"]).first()
    if project is None:  # it was made after the backup, and so was all that is in it
        return f"There is no project {erasure['project']}: nothing of it is to erase."
    try:
        carried = Carried(erasure["key"], erasure["type"], erasure["value"])
    except ValueError as error:
        raise BadInput("validation-error", f"An erasure of the list: {error}") from None
    task = open_erasure(ACTOR, project, carried, why=WHY, dry_run=False)
    erase(task)
    task.refresh_from_db()
    if task.state != TaskState.COMPLETE:
        raise StoreError(
            "erasure-failed", f"Erasure {task.pk} is {task.state}: {task.reason}"
        )
    return f"Erasure {task.pk}: {task.erased_count} records of {project} are erased."
