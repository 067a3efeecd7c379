"""``inference_store.quality``, to be awaited: the same function."""

from __future__ import annotations

from inference_store import quality as blocking
from inference_store.binding import awaitable

__all__ = ["get_quality"]

get_quality = awaitable(blocking.get_quality)
