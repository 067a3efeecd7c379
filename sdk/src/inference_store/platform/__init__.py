"""Inference services and sessions on a server: what is called there, and how.

    platform = Client()
    service = platform.inferenceservices.create_mock(mocks.TextCompletion, account="a")
    created = platform.inferencesessions.create(
        InferenceSessionCreateRequest(account="a", inferenceService=service.id))

``inference_store.local`` has the same without a server.
"""

from inference_store.platform import inferenceservices, inferencesessions

__all__ = ["inferenceservices", "inferencesessions"]
