"""``inference_store.retention_policy`` for asyncio: the same functions, to be awaited."""

from __future__ import annotations

from inference_store import retention_policy as blocking
from inference_store.binding import awaitable

create_retention_policy = awaitable(blocking.create_retention_policy)
get_retention_policy = awaitable(blocking.get_retention_policy)
replace_retention_policy = awaitable(blocking.replace_retention_policy)
delete_retention_policy = awaitable(blocking.delete_retention_policy)
preview_retention_policy = awaitable(blocking.preview_retention_policy)
