"""``inference_store.platform``, to be awaited: services and sessions on a server."""

from inference_store.aio.platform import inferenceservices, inferencesessions

__all__ = ["inferenceservices", "inferencesessions"]
