"""Lists of a model's export tasks, page by page."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from exports.models import ExportTask
from inferences.models import RegisteredModel
from inferences.search.filters import TimeWindow
from inferences.search.pagination import Pagination
from istore.tasks import paging

NEWEST_FIRST: Final = "desc"


@dataclass(frozen=True, slots=True)
class TaskQuery:
    """A query for export tasks: filters and a page."""

    state: str | None = None
    format: str | None = None
    window: TimeWindow | None = None
    pagination: Pagination = field(default_factory=Pagination)

    @classmethod
    def of(cls, fields: dict[str, Any]) -> TaskQuery:
        """Return the query in the fields of ``ExportTasksQuerySerializer``."""
        return cls(
            fields.get("state_filter"),
            fields.get("format_filter"),
            fields.get("time_window_filter"),
            fields.get("pagination") or Pagination(),
        )


def page_of(
    model: RegisteredModel, query: TaskQuery
) -> tuple[list[ExportTask], str | None]:
    """Return the tasks of the page, and the cursor of the next or None. Raises ``BadCursor``."""
    tasks = model.export_tasks.all()
    if query.state:
        tasks = tasks.filter(state=query.state)
    if query.format:
        tasks = tasks.filter(format=query.format)
    if query.window:
        tasks = tasks.filter(created_at__gte=query.window.start)
        if query.window.end:
            tasks = tasks.filter(created_at__lte=query.window.end)
    wanted = query.pagination
    page, following = paging.page_of(
        tasks,
        newest_first=wanted.direction == NEWEST_FIRST,
        limit=wanted.limit,
        offset=wanted.offset,
        cursor=wanted.cursor,
    )
    for task in page:
        task.model = model
    return page, following
