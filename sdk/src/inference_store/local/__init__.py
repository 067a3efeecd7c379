"""The local platform: services and sessions of mocks, without a server."""

from inference_store import mocks

__all__ = ["mocks"]
