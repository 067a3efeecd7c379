"""The local platform: services and sessions of mocks in a directory, without a server.

    from inference_store.local import LocalPlatform, mocks
    platform = LocalPlatform(storage_root="some/dir")
    service = platform.inferenceservices.create_mock(mocks.TextCompletion, account="team-a")

``serve(mock, port)`` runs a mock as an HTTP server.
"""

from inference_store import mocks
from inference_store.local.platform import (
    LocalPlatform,
    SessionEnded,
    SessionNotReady,
)
from inference_store.local.serving import MockServer, serve
from inference_store.local.session_client import InferenceSessionClient

DyffLocalPlatform = LocalPlatform  # alias: the name that ported programs import

__all__ = [
    "DyffLocalPlatform",
    "InferenceSessionClient",
    "LocalPlatform",
    "MockServer",
    "SessionEnded",
    "SessionNotReady",
    "mocks",
    "serve",
]
