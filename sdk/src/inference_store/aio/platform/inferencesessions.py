"""``inference_store.platform.inferencesessions`` for asyncio: the same functions, to be awaited."""

from __future__ import annotations

from inference_store.binding import awaitable
from inference_store.platform import inferencesessions as blocking

create = awaitable(blocking.create)
get = awaitable(blocking.get)
query = awaitable(blocking.query)
ready = awaitable(blocking.ready)
token = awaitable(blocking.token)
terminate = awaitable(blocking.terminate)
