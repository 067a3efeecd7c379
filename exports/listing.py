"""The tasks of a model, a page at a time."""

from __future__ import annotations

import uuid
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db.models import Q

from exports.models import ExportTask
from inferences.filters import TimeWindow
from inferences.models import RegisteredModel
from inferences.querying import Pagination

NEWEST_FIRST = "desc"


@dataclass(frozen=True, slots=True)
class TaskQuery:
    """Which tasks, and which part of them."""

    state: str | None = None
    format: str | None = None
    window: TimeWindow | None = None
    pagination: Pagination = field(default_factory=Pagination)

    @classmethod
    def of(cls, fields: dict[str, Any]) -> TaskQuery:
        """From what ``ExportTasksQuerySerializer`` read."""
        return cls(
            fields.get("state_filter"),
            fields.get("format_filter"),
            fields.get("time_window_filter"),
            fields.get("pagination") or Pagination(),
        )


def page_of(
    model: RegisteredModel, query: TaskQuery
) -> tuple[list[ExportTask], str | None]:
    """The tasks of the page, and the cursor of the next. Raises ``ValueError``."""
    wanted = query.pagination
    newest_first = wanted.direction == NEWEST_FIRST
    sign, beyond = ("-", "lt") if newest_first else ("", "gt")
    tasks = model.export_tasks.order_by(f"{sign}created_at", f"{sign}pk")
    if query.state:
        tasks = tasks.filter(state=query.state)
    if query.format:
        tasks = tasks.filter(format=query.format)
    if query.window:
        tasks = tasks.filter(created_at__gte=query.window.start)
        if query.window.end:
            tasks = tasks.filter(created_at__lte=query.window.end)
    if wanted.cursor:
        moment, key = _place(wanted.cursor)
        same = Q(created_at=moment, **{f"pk__{beyond}": key})
        tasks = tasks.filter(Q(**{f"created_at__{beyond}": moment}) | same)
    rows = list(tasks[wanted.offset : wanted.offset + wanted.limit + 1])
    page = rows[: wanted.limit]
    for task in page:
        task.model = model
    return page, _cursor(page[-1]) if len(rows) > wanted.limit else None


def _cursor(task: ExportTask) -> str:
    text = f"{task.created_at.isoformat()} {task.pk}"
    return urlsafe_b64encode(text.encode()).decode()


def _place(cursor: str) -> tuple[datetime, uuid.UUID]:
    try:
        moment, _, key = urlsafe_b64decode(cursor.encode()).decode().partition(" ")
        return datetime.fromisoformat(moment), uuid.UUID(key)
    except ValueError:
        raise ValueError("The cursor is not one of ours.") from None
