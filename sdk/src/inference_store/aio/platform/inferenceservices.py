"""``inference_store.platform.inferenceservices`` for asyncio: the same functions, to be awaited."""

from __future__ import annotations

from inference_store.binding import awaitable
from inference_store.platform import inferenceservices as blocking

create = awaitable(blocking.create)
create_mock = awaitable(blocking.create_mock)
get = awaitable(blocking.get)
query = awaitable(blocking.query)
delete = awaitable(blocking.delete)
