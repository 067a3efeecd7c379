"""``inference_store.retention_policy``, to be awaited: the same functions."""

from __future__ import annotations

from inference_store import retention_policy as blocking
from inference_store.binding import awaitable

create_retention_policy = awaitable(blocking.create_retention_policy)
get_retention_policy = awaitable(blocking.get_retention_policy)
replace_retention_policy = awaitable(blocking.replace_retention_policy)
delete_retention_policy = awaitable(blocking.delete_retention_policy)
preview_retention_policy = awaitable(blocking.preview_retention_policy)
