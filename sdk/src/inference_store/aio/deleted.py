"""``inference_store.deleted`` for asyncio: the same functions, to be awaited."""

from __future__ import annotations

from inference_store import deleted as blocking
from inference_store.binding import awaitable

filter_deleted_inferences = awaitable(blocking.filter_deleted_inferences)
restore_inferences = awaitable(blocking.restore_inferences)
remove_deleted_inferences = awaitable(blocking.remove_deleted_inferences)
