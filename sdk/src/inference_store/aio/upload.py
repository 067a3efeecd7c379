"""``inference_store.upload`` for asyncio: the same functions, to be awaited."""

from __future__ import annotations

from inference_store import upload as blocking
from inference_store.binding import awaitable

upload_data = awaitable(blocking.upload_data)
upload_inference_and_metadata = awaitable(blocking.upload_inference_and_metadata)
put_upload = awaitable(blocking.put_upload)
