"""The functions of services and sessions as methods of a client."""

from __future__ import annotations

from typing import TYPE_CHECKING

from inference_store.binding import bound
from inference_store.platform import inferenceservices, inferencesessions

if TYPE_CHECKING:
    from inference_store.adapters import Adapter
    from inference_store.client import Client
    from inference_store.platform.session_client import RemoteSessionClient
    from inference_store.schema import InferenceInterface


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
        endpoint: str | None = None,
        input_adapter: Adapter | None = None,
        output_adapter: Adapter | None = None,
        proxy_url: str | None = None,
    ) -> RemoteSessionClient:
        """Return a client that calls one session.

        Parameters:
            session_id: the session's id.
            token: a token of the session, or of its project.
            interface: the interface whose endpoint and pipelines are used.
            endpoint: replaces the interface's; with neither, the session's own is used.
            input_adapter: replaces the interface's input pipeline.
            output_adapter: replaces the interface's output pipeline.
            proxy_url: URL of the proxy; ``ISTORE_PROXY_URL`` when not given, else the one
                that the session names.

        Returns:
            The client; its ``infer(request)`` returns a list of items.
        """
        # Imported here, because most programs call no sessions.
        from inference_store.platform import session_client

        if interface is None and endpoint is None:
            asked = session_client.session_by_token(session_id, token)
            endpoint = self.run(asked).inferenceService.interface.endpoint
        return session_client.RemoteSessionClient(
            self._connection,
            session_id,
            token,
            interface=interface,
            endpoint=endpoint,
            input_adapter=input_adapter,
            output_adapter=output_adapter,
            proxy_url=proxy_url,
        )
