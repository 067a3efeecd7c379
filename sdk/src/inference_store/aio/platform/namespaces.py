"""The functions of services and sessions as methods of an asynchronous client."""

from __future__ import annotations

from typing import TYPE_CHECKING

from inference_store.aio.platform import inferenceservices, inferencesessions
from inference_store.binding import bound

if TYPE_CHECKING:
    from inference_store.adapters import Adapter
    from inference_store.aio.client import AsyncClient
    from inference_store.aio.platform.session_client import AsyncRemoteSessionClient
    from inference_store.schema import InferenceInterface


class AsyncInferenceServices:
    """The functions of ``inference_store.aio.platform.inferenceservices``."""

    def __init__(self, client: AsyncClient) -> None:
        self.run = client.run

    create = bound(inferenceservices.create)
    create_mock = bound(inferenceservices.create_mock)
    get = bound(inferenceservices.get)
    query = bound(inferenceservices.query)
    delete = bound(inferenceservices.delete)


class AsyncInferenceSessions:
    """Those of ``inference_store.aio.platform.inferencesessions``, and ``client``."""

    def __init__(self, client: AsyncClient) -> None:
        self.run = client.run
        self._connection = client

    create = bound(inferencesessions.create)
    get = bound(inferencesessions.get)
    query = bound(inferencesessions.query)
    ready = bound(inferencesessions.ready)
    token = bound(inferencesessions.token)
    terminate = bound(inferencesessions.terminate)

    async def client(
        self,
        session_id: str,
        token: str,
        *,
        interface: InferenceInterface | None = None,
        endpoint: str | None = None,
        input_adapter: Adapter | None = None,
        output_adapter: Adapter | None = None,
        proxy_url: str | None = None,
    ) -> AsyncRemoteSessionClient:
        """Return a client that calls one session.

        Returns:
            The client; its ``infer(request)``, awaited, returns a list of items. Parameters
            are those of ``inference_store.platform.namespaces.InferenceSessions.client``.
        """
        # Imported here, because most programs call no sessions.
        from inference_store.aio.platform.session_client import AsyncRemoteSessionClient
        from inference_store.platform.session_client import session_by_token

        if interface is None and endpoint is None:
            session = await self.run(session_by_token(session_id, token))
            endpoint = session.inferenceService.interface.endpoint
        return AsyncRemoteSessionClient(
            self._connection,
            session_id,
            token,
            interface=interface,
            endpoint=endpoint,
            input_adapter=input_adapter,
            output_adapter=output_adapter,
            proxy_url=proxy_url,
        )
