"""``inference_store.ground_truth`` for asyncio: the same functions, to be awaited."""

from __future__ import annotations

from inference_store import ground_truth as blocking
from inference_store.binding import awaitable

__all__ = [
    "count_ground_truth",
    "delete_ground_truth",
    "get_ground_truth",
    "get_ground_truth_history",
    "join_ground_truth",
    "list_pending_ground_truth",
    "put_ground_truth",
    "upload_ground_truth",
]

count_ground_truth = awaitable(blocking.count_ground_truth)
delete_ground_truth = awaitable(blocking.delete_ground_truth)
get_ground_truth = awaitable(blocking.get_ground_truth)
get_ground_truth_history = awaitable(blocking.get_ground_truth_history)
join_ground_truth = awaitable(blocking.join_ground_truth)
list_pending_ground_truth = awaitable(blocking.list_pending_ground_truth)
put_ground_truth = awaitable(blocking.put_ground_truth)
upload_ground_truth = awaitable(blocking.upload_ground_truth)
