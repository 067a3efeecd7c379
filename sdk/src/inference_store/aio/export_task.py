"""``inference_store.export_task`` for asyncio: the same functions, to be awaited."""

from __future__ import annotations

from inference_store import export_task as blocking
from inference_store.binding import awaitable

create_export_task = awaitable(blocking.create_export_task)
get_export_task = awaitable(blocking.get_export_task)
filter_export_tasks = awaitable(blocking.filter_export_tasks)
stop_export_task = awaitable(blocking.stop_export_task)
retry_export_task = awaitable(blocking.retry_export_task)
list_export_formats = awaitable(blocking.list_export_formats)
