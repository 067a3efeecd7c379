"""Lists of tasks, page by page, in the order of their creation."""

from __future__ import annotations

import binascii
import uuid
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from django.db.models import Q, QuerySet
from django.db.models.manager import BaseManager
from django.http import Http404

from istore.tasks.tracking import TrackedTask

PAGE = 50

Position = tuple[datetime, uuid.UUID]
Task = TypeVar("Task", bound=TrackedTask)


class BadCursor(ValueError):
    """The cursor was not issued by this store."""


@dataclass(frozen=True, slots=True)
class TaskQuery:
    """Which tasks of a list are asked for, by state and time of creation, and which page."""

    state: str | None = None
    start: datetime | None = None
    end: datetime | None = None
    newest_first: bool = True
    limit: int = PAGE
    offset: int = 0
    cursor: str | None = None

    def page(self, tasks: QuerySet[Task]) -> tuple[list[Task], str | None]:
        """Return the tasks of a page, and the cursor of the next page or None.

        Raises ``BadCursor``.
        """
        if self.state:
            tasks = tasks.filter(state=self.state)
        if self.start:
            tasks = tasks.filter(created_at__gte=self.start)
        if self.end:
            tasks = tasks.filter(created_at__lte=self.end)
        sign, beyond = ("-", "lt") if self.newest_first else ("", "gt")
        tasks = tasks.order_by(f"{sign}created_at", f"{sign}pk")
        if self.cursor:
            moment, key = _read(self.cursor)
            same = Q(created_at=moment, **{f"pk__{beyond}": key})
            tasks = tasks.filter(Q(**{f"created_at__{beyond}": moment}) | same)
        rows = list(tasks[self.offset : self.offset + self.limit + 1])
        page = rows[: self.limit]
        return page, _write(page[-1]) if len(rows) > self.limit else None


def find_task(
    tasks: QuerySet[Task] | BaseManager[Task], task_id: str | uuid.UUID
) -> Task:
    """Return the task of this id. Raises ``Http404`` if there is none, or it is no id."""
    try:
        found = tasks.all().filter(pk=uuid.UUID(str(task_id))).first()
    except ValueError:
        found = None
    if found is None:
        raise Http404
    return found


def _write(task: TrackedTask) -> str:
    text = f"{task.created_at.isoformat()} {task.pk}"
    return urlsafe_b64encode(text.encode()).decode()


def _read(cursor: str) -> Position:
    try:
        text = urlsafe_b64decode(cursor.encode()).decode()
        moment, _, key = text.partition(" ")
        position = datetime.fromisoformat(moment), uuid.UUID(key)
    except (ValueError, binascii.Error):
        raise BadCursor("This is not a cursor of this store.") from None
    if position[0].tzinfo is None:
        raise BadCursor("This is not a cursor of this store.")
    return position
