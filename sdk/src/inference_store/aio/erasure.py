"""``inference_store.erasure`` for asyncio: the same functions, to be awaited."""

from __future__ import annotations

from inference_store import erasure as blocking
from inference_store.binding import awaitable

create_erasure = awaitable(blocking.create_erasure)
get_erasure = awaitable(blocking.get_erasure)
list_erasures = awaitable(blocking.list_erasures)
stop_erasure = awaitable(blocking.stop_erasure)
was_erased = awaitable(blocking.was_erased)
