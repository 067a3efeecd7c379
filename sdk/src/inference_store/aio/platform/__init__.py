"""``inference_store.platform`` for asyncio: services and sessions on a server."""

from inference_store.aio.platform import inferenceservices, inferencesessions

__all__ = ["inferenceservices", "inferencesessions"]
