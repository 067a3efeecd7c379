"""Inference services and sessions of a server: create them, and call them.

    platform = Client()
    service = platform.inferenceservices.create_mock(mocks.TextCompletion, account="a")
    created = platform.inferencesessions.create(
        InferenceSessionCreateRequest(account="a", inferenceService=service.id))

``inference_store.local`` has the same without a server.
"""

from inference_store.platform import inferenceservices, inferencesessions

__all__ = ["inferenceservices", "inferencesessions"]
