"""The functions of services and sessions as methods of a client."""

from __future__ import annotations

from typing import TYPE_CHECKING

from inference_store.operations import bound
from inference_store.platform import inferenceservices, inferencesessions
from inference_store.platform.session_client import InferenceSessionClient
from inference_store.schema import InferenceInterface

if TYPE_CHECKING:
    from inference_store.client import Client


class InferenceServices:
    """The functions of ``inference_store.platform.inferenceservices``."""

    def __init__(self, client: Client) -> None:
        self.run = client.run

    create = bound(inferenceservices.create)
    create_mock = bound(inferenceservices.create_mock)
    get = bound(inferenceservices.get)
    query = bound(inferenceservices.query)
    delete = bound(inferenceservices.delete)


class InferenceSessions:
    """The functions of ``inference_store.platform.inferencesessions``, and ``client``."""

    def __init__(self, client: Client) -> None:
        self.run = client.run
        self._connection = client

    create = bound(inferencesessions.create)
    get = bound(inferencesessions.get)
    query = bound(inferencesessions.query)
    ready = bound(inferencesessions.ready)
    token = bound(inferencesessions.token)
    terminate = bound(inferencesessions.terminate)

    def client(
        self,
        session_id: str,
        token: str,
        *,
        interface: InferenceInterface | None = None,
        proxy_url: str | None = None,
    ) -> InferenceSessionClient:
        """What asks a session. Nothing is sent yet.

        Parameters:
            session_id: the session's id.
            token: of the session, or of its project.
            interface: whose pipelines to apply; without one requests and answers are
                in the service's own form.
            proxy_url: where calls are answered; ``ISTORE_PROXY_URL``, else what the
                session says, unless given.
        """
        return InferenceSessionClient(
            self._connection, session_id, token, interface, proxy_url
        )
