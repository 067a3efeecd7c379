"""The client whose calls are awaited."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import httpx2

from inference_store import connection
from inference_store.aio.namespaces import (
    AsyncDatasets,
    AsyncDeletedInferences,
    AsyncErasures,
    AsyncExportSchedules,
    AsyncExportTasks,
    AsyncGroundTruths,
    AsyncInferences,
    AsyncMetadataValues,
    AsyncProtection,
    AsyncQualityFigures,
    AsyncRegistration,
    AsyncRetentionPolicies,
    AsyncRetentionTasks,
    AsyncUploads,
)
from inference_store.aio.platform.namespaces import (
    AsyncInferenceServices,
    AsyncInferenceSessions,
)
from inference_store.forks import GivenTransport, leave_to_parent, this_process
from inference_store.requests import Call, Pause, Plan
from inference_store.retries import Retries
from inference_store.serving import AsyncModel, fetch_model
from inference_store.transport import Attempt, read

T = TypeVar("T")


class AsyncClient:
    """``inference_store.Client``, with calls to be awaited.

    Its connections belong to the process and the event loop that it is first used in; used
    in another, it opens new connections there.

    Parameters:
        url: of the store; ``ISTORE_URL`` when not given, else http://127.0.0.1:8000.
        token: of a project; ``ISTORE_TOKEN`` when not given.
        timeout: seconds that connecting, or a silence while sending or receiving, may
            last.
        retries: how often calls that may run twice are repeated.
        transport: what carries requests, for tests and special networks.
        sleep: how to wait between tries.

    Raises:
        ValueError: the URL is none.
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
        self.inference = AsyncInferences(self)
        self.metadata = AsyncMetadataValues(self)
        self.register = AsyncRegistration(self)
        self.retention_policy = AsyncRetentionPolicies(self)
        self.retention_task = AsyncRetentionTasks(self)
        self.export_task = AsyncExportTasks(self)
        self.upload = AsyncUploads(self)
        self.dataset = AsyncDatasets(self)
        self.ground_truth = AsyncGroundTruths(self)
        self.quality = AsyncQualityFigures(self)
        self.inferenceservices = AsyncInferenceServices(self)
        self.inferencesessions = AsyncInferenceSessions(self)
        self.erasure = AsyncErasures(self)
        self.export_schedule = AsyncExportSchedules(self)
        self.deleted = AsyncDeletedInferences(self)
        self.protection = AsyncProtection(self)

    async def get_model(self, model_id: str) -> AsyncModel:
        """The model to call, as ``inference_store.aio.get_model`` with this client."""
        return AsyncModel(self, await self.send(fetch_model(model_id)))

    async def run(self, plan: Plan[T]) -> T:
        """Sends a call, or the steps of several, and returns what they come to."""
        if isinstance(plan, Call):
            return await self.send(plan)
        answer: Any = None
        while True:
            try:
                step = plan.send(answer)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]
            if isinstance(step, Pause):
                answer = await self._sleep(step.seconds)
            else:
                answer = await self.send(step)

    async def send(self, call: Call[T]) -> T:
        """Sends one call, again where that is allowed, and reads its answer."""
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
        """Closes the connections. They are opened again when they are needed."""
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
    """Process and event loop, which connections are not shared across."""
    return (*this_process(), asyncio.get_running_loop())


def connect(
    url: str | None = None, token: str | None = None, **options: Any
) -> AsyncClient:
    """Connect the functions of ``inference_store.aio`` to a store; not awaited.

    Parameters:
        url: of the store; ``ISTORE_URL`` when not given, else http://127.0.0.1:8000.
        token: of a project; ``ISTORE_TOKEN`` when not given.
        options: further parameters of ``AsyncClient``.

    Returns:
        The client, which may be kept and used on its own.

    Raises:
        ValueError: the URL is none.
    """
    connection.current_async = AsyncClient(url, token, **options)
    return connection.current_async


async def get_model(model_id: str) -> AsyncModel:
    """A registered model, to call through the proxy.

    Parameters:
        model_id: the model's id.

    Returns:
        The model, with ``predict``, ``predict_proba``, ``detect``, ``embed`` and
        ``set_inference_server_settings`` to be awaited.

    Raises:
        NotFound: the store does not know the model.
        InferenceStoreError: any other failure.
    """
    return await connection.connected_async().get_model(model_id)
