"""``inference_store.retention_task`` for asyncio: the same functions, to be awaited."""

from __future__ import annotations

from inference_store import retention_task as blocking
from inference_store.binding import awaitable

create_retention_task = awaitable(blocking.create_retention_task)
get_retention_task = awaitable(blocking.get_retention_task)
filter_retention_tasks = awaitable(blocking.filter_retention_tasks)
stop_retention_task = awaitable(blocking.stop_retention_task)
resume_retention_task = awaitable(blocking.resume_retention_task)
