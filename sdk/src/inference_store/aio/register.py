"""``inference_store.register`` for asyncio: the same functions, to be awaited."""

from __future__ import annotations

from inference_store import register as blocking
from inference_store.binding import awaitable

register_model_for_inference_storage = awaitable(
    blocking.register_model_for_inference_storage
)
get_registered_model = awaitable(blocking.get_registered_model)
list_registered_models = awaitable(blocking.list_registered_models)
