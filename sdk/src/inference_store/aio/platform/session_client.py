"""A client of one session on a server, for asyncio."""

from __future__ import annotations

from typing import Any

from inference_store.adapters import Adapter
from inference_store.binding import Namespace
from inference_store.platform.session_client import SessionCalls, session_by_token
from inference_store.schema import InferenceInterface
from inference_store.sender import AsyncSender


class AsyncRemoteSessionClient(SessionCalls):
    """A client that calls a session; ``client.inferencesessions.client`` makes it."""

    def __init__(
        self, client: AsyncSender, session_id: str, token: str, **interface: Any
    ) -> None:
        super().__init__(session_id, token, **interface)
        self._client = client

    async def ready(self) -> bool:
        """Return whether the session can be called, as ``RemoteSessionClient.ready`` does."""
        return await self._client.run(self._ready_call())

    async def infer(self, request: Any) -> list[Any]:
        """Call the session, as ``RemoteSessionClient.infer`` does."""
        return await self._client.run(self._infer_steps(request, self._client.url))


class AsyncSessionClients(Namespace[AsyncSender]):
    """The methods of ``client.inferencesessions`` that are no calls of the API."""

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
            are those of ``inference_store.platform.session_client.SessionClients.client``.
        """
        if interface is None and endpoint is None:
            session = await self._sender.run(session_by_token(session_id, token))
            endpoint = session.inferenceService.interface.endpoint
        return AsyncRemoteSessionClient(
            self._sender,
            session_id,
            token,
            interface=interface,
            endpoint=endpoint,
            input_adapter=input_adapter,
            output_adapter=output_adapter,
            proxy_url=proxy_url,
        )
