"""A client of one session on a server, for asyncio."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from inference_store.platform.session_client import SessionCalls

if TYPE_CHECKING:
    from inference_store.aio.client import AsyncClient


class AsyncRemoteSessionClient(SessionCalls):
    """A client that calls a session; ``client.inferencesessions.client`` makes it."""

    def __init__(
        self, client: AsyncClient, session_id: str, token: str, **how: Any
    ) -> None:
        super().__init__(session_id, token, **how)
        self._client = client

    async def ready(self) -> bool:
        """Return whether the session can be called, as ``RemoteSessionClient.ready`` does."""
        return await self._client.run(self._asks_if_ready())

    async def infer(self, request: Any) -> list[Any]:
        """Call the session, as ``RemoteSessionClient.infer`` does."""
        return await self._client.run(self._asks(request, self._client.url))
