"""Sets of members of an archive. A set is fixed before the first member is written."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol, TypeVar

from django.conf import settings
from django.db import connection

from exports.export_report import Receipt
from exports.members import Batch
from exports.models import ExportTask
from exports.selections import Selection, snapshot
from inferences.models import RegisteredModel
from istore.db.clock import now
from istore.tasks.tracking import Failed

# The set is written by one statement, so no id passes through Python. LIMIT is one more than
# ISTORE_EXPORT_MAX, so that a larger set is noticed without being written whole.
FIX = """
INSERT INTO {parts} (task_id, number, row_ids, inference_ids)
SELECT %s, number, array_agg(id ORDER BY id), array_agg(inference_id ORDER BY id)
FROM (SELECT id, inference_id, (row_number() OVER (ORDER BY id) - 1) / %s AS number
      FROM ({chosen} LIMIT %s) AS chosen) AS numbered
GROUP BY number
"""
COUNT = """
SELECT coalesce(sum(cardinality(row_ids)), 0) FROM {parts}
WHERE task_id = %s
"""


TaskT = TypeVar("TaskT", contravariant=True)


class MemberSet(Protocol[TaskT]):
    """The members of one kind of task. Its methods take the task that is carried out."""

    def fix(self, task: TaskT) -> None:
        """Decide on the members, and record ``expected_count`` and ``fixed_at``."""

    def batches(self, task: TaskT) -> Iterator[Batch]:
        """Yield the members in their order, in batches."""

    def model(self, task: TaskT) -> RegisteredModel:
        """Return what formats need of a model: the task type, the class labels and a name."""

    def facts(self, task: TaskT) -> dict[str, Any]:
        """Return where the members come from, for the manifest."""

    def warn(self, task: TaskT, receipt: Receipt) -> None:
        """Count warnings about the set as a whole."""


def fix_selected(task: Any) -> None:
    """Write the inferences that ``task.selection`` chooses to the parts of the task.

    They are read from one snapshot. It records ``expected_count`` and ``fixed_at``. Raises
    ``Failed`` if there are more than ``ISTORE_EXPORT_MAX``.
    """
    most = settings.ISTORE_EXPORT_MAX
    selection = _selection(task)
    parts = task.parts.model._meta.db_table
    with snapshot(), connection.cursor() as cursor:
        chosen, values = selection.statement(task.model)
        cursor.execute(
            FIX.format(parts=parts, chosen=chosen),
            [task.pk, settings.ISTORE_EXPORT_SET_PART, *values, most + 1],
        )
        cursor.execute(COUNT.format(parts=parts), [task.pk])
        (count,) = cursor.fetchone()
        if count > most:
            raise Failed(f"More than {most:,} inferences are chosen; go in parts.")
        asked = task.selection
        if unknown := selection.unknown(task.model):
            asked = {**asked, "unknown_inference_ids": unknown}
        task.record(expected_count=count, fixed_at=now(), selection=asked)


def selected_batches(task: Any, passed: int = 0) -> Iterator[Batch]:
    """Yield the fixed set in batches, oldest first, after the first ``passed`` members."""
    number, size = 1, settings.ISTORE_EXPORT_BATCH
    for part in task.parts.order_by("number").iterator(chunk_size=1):
        for start in range(0, len(part.row_ids), size):
            here = slice(start, start + size)
            row_ids, names = part.row_ids[here], part.inference_ids[here]
            if number > passed:
                yield Batch(task.model, number, row_ids, names)
            number += len(row_ids)


class SelectedInferences:
    """The member set of an ``ExportTask``."""

    def fix(self, task: ExportTask) -> None:
        fix_selected(task)

    def batches(self, task: ExportTask) -> Iterator[Batch]:
        return selected_batches(task)

    def model(self, task: ExportTask) -> RegisteredModel:
        return task.model

    def facts(self, task: ExportTask) -> dict[str, Any]:
        model = task.model
        return {
            "export_task_id": str(task.pk),
            "model_id": model.model_id,
            "project_id": model.project.project_id,
            "task_type": model.task_type,
            "class_labels": model.class_labels,
            "first_class_number": model.first_class_number,
            "selection": task.selection,
        }

    def warn(self, task: ExportTask, receipt: Receipt) -> None:
        if unknown := task.selection.get("unknown_inference_ids"):
            receipt.warn("unknown-included", len(unknown))


def _selection(task: Any) -> Selection:
    try:
        return Selection.from_json(task.selection)
    except ValueError as error:
        raise Failed(f"The selection cannot be read: {error}") from None
