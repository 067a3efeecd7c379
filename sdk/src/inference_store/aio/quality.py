"""``inference_store.quality`` for asyncio: the same function, to be awaited."""

from __future__ import annotations

from inference_store import quality as blocking
from inference_store.binding import awaitable

__all__ = ["get_quality"]

get_quality = awaitable(blocking.get_quality)
