"""The client for asyncio: its calls are awaited."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeVar

import httpx2

from inference_store import connection, openai_clients
from inference_store.aio.namespaces import AsyncNamespaces
from inference_store.forks import GivenTransport, leave_to_parent, this_process
from inference_store.models.registering import Model as RegisteredModel
from inference_store.models.registering import fetch_model
from inference_store.requests import Call, Pause, Plan
from inference_store.retries import Retries
from inference_store.serving import AsyncModel
from inference_store.transport import Attempt, read

if TYPE_CHECKING:
    import openai

T = TypeVar("T")


class AsyncClient(AsyncNamespaces):
    """``inference_store.Client`` for asyncio: its calls are awaited.

    Its connections belong to one process and event loop. Used in another process or loop, it
    opens new connections there.

    Parameters:
        url: URL of the store; ``ISTORE_URL`` when not given, else http://127.0.0.1:8000.
        token: token of a project; ``ISTORE_TOKEN`` when not given.
        timeout: seconds that connecting may take, and seconds without a byte sent or
            received after which a call fails. It is no limit of the whole call.
        retries: how often calls that may run twice are repeated.
        transport: an asynchronous ``httpx2`` transport, for tests and special networks.
        sleep: an async function that waits the given seconds between tries, for tests.

    Raises:
        TypeError: the URL or the token is not a text.
        ValueError: the URL is not valid, or no header can hold the token.
    """

    def __init__(
        self,
        url: str | None = None,
        token: str | None = None,
        *,
        timeout: float = 30.0,
        retries: Retries | None = None,
        transport: httpx2.AsyncBaseTransport | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.url, self._token = connection.url_and_token(url, token)
        self._retries = retries or Retries()
        self._sleep = sleep
        self._timeout, self._transport = timeout, transport
        self._given = GivenTransport(transport) if transport else None
        self._pool: httpx2.AsyncClient | None = None
        self._belongs: tuple[object, ...] = ()  # to a process and an event loop
        super().__init__(self)

    async def get_model(self, model_id: str) -> AsyncModel:
        """Return the model to call, as ``aio.get_model`` does, with this client."""
        return self.serve(await self.send(fetch_model(model_id)))

    def serve(self, resource: RegisteredModel) -> AsyncModel:
        """Return the model to call, of a registered model that was fetched before."""
        return AsyncModel(self, resource)

    async def openai(
        self, model_id: str, api_key: str | None = None, **options: Any
    ) -> openai.AsyncOpenAI:
        """Return an asynchronous client of OpenAI's package, as ``Client.openai`` does."""
        package = openai_clients.load()
        model = await self.get_model(model_id)
        given = openai_clients.arguments_of(model, self._token, api_key)
        client: openai.AsyncOpenAI = package.AsyncOpenAI(**given | options)
        return client

    async def run(self, plan: Plan[T]) -> T:
        """Send one call, or several as steps, and return their result."""
        if isinstance(plan, Call):
            return await self.send(plan)
        answer: Any = None
        while True:
            try:
                step = plan.send(answer)
            except StopIteration as end:
                result: T = end.value
                return result
            answer = None
            if isinstance(step, Pause):
                await self._sleep(step.seconds)
            else:
                answer = await self.run(step)

    async def send(self, call: Call[T]) -> T:
        """Send one call, retry it where that is allowed, and return what its answer means."""
        attempt = Attempt(call, self.url, self._token, self._retries)
        while True:
            try:
                response = await self._connections().request(**attempt.request)
            except httpx2.TransportError as error:
                wait = attempt.wait_after_failure(error)
            else:
                again = attempt.wait_after(response)
                if again is None:
                    return read(call, response)
                wait = again
            await self._sleep(wait)

    async def close(self) -> None:
        """Close the connections. They are opened again when they are needed."""
        pool, self._pool = self._pool, None
        if pool is None:
            return
        owner = _owner()
        if self._belongs == owner:
            await pool.aclose()
        elif self._belongs[:-1] != owner[:-1]:
            leave_to_parent(pool)

    def _connections(self) -> httpx2.AsyncClient:
        owner = _owner()
        if self._pool is None or self._belongs != owner:
            if self._given:
                self._given.check()
            if self._pool is not None and self._belongs[:-1] != owner[:-1]:
                leave_to_parent(self._pool)
            self._pool = httpx2.AsyncClient(
                timeout=self._timeout, transport=self._transport
            )
            self._belongs = owner
        return self._pool

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(self, *failure: object) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"AsyncClient({self.url!r})"


def _owner() -> tuple[object, ...]:
    """Return the key of this process and event loop; connections are not shared across them."""
    return (*this_process(), asyncio.get_running_loop())


def connect(
    url: str | None = None, token: str | None = None, **options: Any
) -> AsyncClient:
    """Connect the functions of ``inference_store.aio`` to a store. This call is not awaited.

    Parameters:
        url: URL of the store; ``ISTORE_URL`` when not given, else http://127.0.0.1:8000.
        token: token of a project; ``ISTORE_TOKEN`` when not given.
        options: further parameters of ``AsyncClient``.

    Returns:
        The client. It may be kept and used on its own.

    Raises:
        TypeError: the URL or the token is not a text.
        ValueError: the URL is not valid, or no header can hold the token.
    """
    connection.current_async = AsyncClient(url, token, **options)
    return connection.current_async


async def get_model(model_id: str) -> AsyncModel:
    """Return a registered model, to call it through the proxy.

    Parameters:
        model_id: the model's id.

    Returns:
        The model, with ``predict``, ``predict_proba``, ``detect``, ``embed`` and
        ``set_inference_server_settings`` to be awaited.

    Raises:
        NotFound: the store does not know the model.
        InferenceStoreError: any other failure.
    """
    client = connection.get_async_client()
    return AsyncModel(client, await client.run(fetch_model(model_id)))
