"""``inference_store.export_schedule`` for asyncio: the same functions, to be awaited."""

from __future__ import annotations

from inference_store import export_schedule as blocking
from inference_store.binding import awaitable

create_export_schedule = awaitable(blocking.create_export_schedule)
list_export_schedules = awaitable(blocking.list_export_schedules)
get_export_schedule = awaitable(blocking.get_export_schedule)
change_export_schedule = awaitable(blocking.change_export_schedule)
delete_export_schedule = awaitable(blocking.delete_export_schedule)
run_export_schedule = awaitable(blocking.run_export_schedule)
list_scheduled_exports = awaitable(blocking.list_scheduled_exports)
list_exported_files = awaitable(blocking.list_exported_files)
list_export_destinations = awaitable(blocking.list_export_destinations)
