"""``inference_store.protection`` for asyncio: the same functions, to be awaited."""

from __future__ import annotations

from inference_store import protection as blocking
from inference_store.binding import awaitable

protect_inference = awaitable(blocking.protect_inference)
protect_inferences = awaitable(blocking.protect_inferences)
