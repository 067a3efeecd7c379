"""Erasure in exports: archives, running attempts, and stored selections.

It runs after the records are hidden, so an attempt that begins later cannot find them.
"""

from __future__ import annotations

import json
from typing import Any

from django.db.models import F, Q, QuerySet
from django.db.models.functions import Now

from exports.cleanup import ROOT, orphans, remove_archive
from exports.models import ExportPart, ExportTask
from inferences.erasure.matching_records import Carried
from inferences.models import RegisteredModel
from istore import blobs
from istore.db.clock import now
from istore.models import Project
from istore.tasks.tracking import TaskState

ERASED = "Something in it was erased."
# Replaces a selection that names the erased value; it chooses nothing.
FORGOTTEN = {"only_included": True, "was_erased": True}


def of_records(model: RegisteredModel, row_ids: list[int]) -> int:
    """Remove archives that hold any of these records; return how many."""
    parts = ExportPart.objects.filter(task__model=model, row_ids__overlap=row_ids)
    tasks = ExportTask.objects.filter(pk__in=parts.values("task"))
    take_from_workers(tasks)
    return _remove(tasks)


def of_value(project: Project, carried: Carried) -> int:
    """Remove what may hold the value, and return how many archives and selections that was.

    These are archives with records that were removed or changed since, and tasks whose selection
    names the value.
    """
    tasks = ExportTask.objects.filter(model__project=project)
    named = [
        task.pk for task in tasks.iterator(100) if names_value(task.selection, carried)
    ]
    asked = tasks.filter(pk__in=named)
    take_from_workers(asked)
    gone = _remove(asked) + _remove(
        tasks.filter(
            pk__in=[t.pk for t in tasks.exclude(archive_key="") if _is_stale(t)]
        )
    )
    return gone + asked.update(selection=FORGOTTEN)


def of_leftovers(project: Project) -> int:
    """Remove the files of attempts that broke off, and return how many there were."""
    # A file that is being written is its worker's, which notices that its lease is lost.
    found = orphans(now(), f"{ROOT}{project.pk}/")
    left = [each.key for each in found if not each.is_partial]
    blobs.delete(left)
    return len(left)


def take_from_workers(tasks: QuerySet[Any]) -> None:
    """Let running attempts at these tracked tasks start over, so that they publish nothing.

    Raising ``attempt`` makes the next ``record`` of the worker raise ``LeaseLost``.
    """
    tasks.filter(state=TaskState.RUNNING).update(
        attempt=F("attempt") + 1, lease_until=Now(), notified_at=None
    )


def _remove(tasks: Any) -> int:
    written = list(tasks.exclude(archive_key=""))
    for task in written:
        remove_archive(task, ERASED)
    return len(written)


def _is_stale(task: ExportTask) -> bool:
    """Return whether a record of the archive was removed or changed since the set was fixed."""
    as_it_was = Q(updated_at=None) | Q(updated_at__lte=task.fixed_at)
    rows = task.model.inferences.live().filter(as_it_was)
    return any(
        rows.filter(id__in=part.row_ids).count() < len(part.row_ids)
        for part in task.parts.iterator(chunk_size=1)
    )


def names_value(selection: dict[str, Any], carried: Carried) -> bool:
    """Return whether the selection contains the value together with its key."""
    said = json.dumps(selection, ensure_ascii=False)
    quoted = json.dumps(carried.value, ensure_ascii=False)[1:-1]
    # A text query is a JSON string, so quotes inside it are escaped twice.
    twice = json.dumps(quoted, ensure_ascii=False)[1:-1]
    key = "source" if carried.is_source else carried.path[0]
    return key in said and (quoted in said or twice in said)
