"""``inference_store.platform.inferenceservices``, to be awaited: the same functions."""

from __future__ import annotations

from inference_store.binding import awaitable
from inference_store.platform import inferenceservices as blocking

create = awaitable(blocking.create)
create_mock = awaitable(blocking.create_mock)
get = awaitable(blocking.get)
query = awaitable(blocking.query)
delete = awaitable(blocking.delete)
