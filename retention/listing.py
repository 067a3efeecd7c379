"""Lists of a model's retention tasks, page by page."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from typing import Any

from inferences.models import RegisteredModel
from inferences.search.filters import TimeWindow
from inferences.search.pagination import Pagination
from istore.tasks import paging
from retention.models import RetentionTask


@dataclass(frozen=True, slots=True)
class TaskQuery:
    """A query for tasks of one model. An unknown policy or state matches nothing."""

    policy_id: str | None = None
    state: str | None = None
    window: TimeWindow | None = None
    pagination: Pagination = field(default_factory=Pagination)

    def page(self, model: RegisteredModel) -> tuple[list[RetentionTask], str | None]:
        """Return the tasks, and the cursor of the next page or None. Raises ``BadCursor``."""
        wanted = self.pagination
        page, following = paging.page_of(
            self._matching(model),
            newest_first=wanted.direction == "desc",
            limit=wanted.limit,
            offset=wanted.offset,
            cursor=wanted.cursor,
        )
        for task in page:
            task.model = model
        return page, following

    def _matching(self, model: RegisteredModel) -> Any:
        tasks = model.retention_tasks.all()
        if self.policy_id:
            known = uuid_of(self.policy_id)
            tasks = tasks.filter(policy=known) if known else tasks.none()
        if self.state:
            tasks = tasks.filter(state=self.state)
        if self.window:
            tasks = tasks.filter(created_at__gte=self.window.start)
            if self.window.end:
                tasks = tasks.filter(created_at__lte=self.window.end)
        return tasks


def uuid_of(text: str) -> uuid.UUID | None:
    """Return the UUID that the text spells, or None."""
    try:
        return uuid.UUID(text)
    except ValueError:
        return None
