"""Cursor pagination of tasks, in the order of their creation."""

from __future__ import annotations

import binascii
import uuid
from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import datetime
from typing import Any

from django.db.models import Q, QuerySet

Place = tuple[datetime, uuid.UUID]


class BadCursor(ValueError):
    """The cursor was not issued by this store."""


def page_of(
    tasks: QuerySet[Any],
    *,
    newest_first: bool,
    limit: int,
    offset: int = 0,
    cursor: str | None = None,
) -> tuple[list[Any], str | None]:
    """Return the tasks of a page, and the cursor of the next page or None. Raises ``BadCursor``."""
    sign, beyond = ("-", "lt") if newest_first else ("", "gt")
    tasks = tasks.order_by(f"{sign}created_at", f"{sign}pk")
    if cursor:
        moment, key = _read(cursor)
        same = Q(created_at=moment, **{f"pk__{beyond}": key})
        tasks = tasks.filter(Q(**{f"created_at__{beyond}": moment}) | same)
    rows = list(tasks[offset : offset + limit + 1])
    page = rows[:limit]
    return page, _write(page[-1]) if len(rows) > limit else None


def _write(task: Any) -> str:
    text = f"{task.created_at.isoformat()} {task.pk}"
    return urlsafe_b64encode(text.encode()).decode()


def _read(cursor: str) -> Place:
    try:
        text = urlsafe_b64decode(cursor.encode()).decode()
        moment, _, key = text.partition(" ")
        place = datetime.fromisoformat(moment), uuid.UUID(key)
    except (ValueError, binascii.Error):
        raise BadCursor("This is not a cursor of this store.") from None
    if place[0].tzinfo is None:
        raise BadCursor("This is not a cursor of this store.")
    return place
