"""A store in a dictionary: what the SDK sends is kept, what it gets is said before."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx2
import pytest

from inference_store import Client, Retries, connection
from inference_store.aio import AsyncClient


class Store:
    """Answers one request after the other with what was said, the last one for ever."""

    def __init__(self) -> None:
        self.requests: list[httpx2.Request] = []
        self.waits: list[float] = []
        self.answers: list[Any] = []

    def says(self, *answers: Any) -> None:
        """Each a body, (status, body), (status, body, headers), or an exception."""
        self.answers = list(answers)

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        self.requests.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, type) and issubclass(answer, Exception):
            raise answer("broken", request=request)
        if callable(answer):
            return answer(request)
        status, body, *rest = answer if isinstance(answer, tuple) else (200, answer)
        kind = {"json": body} if not isinstance(body, bytes) else {"content": body}
        return httpx2.Response(status, headers=rest[0] if rest else None, **kind)

    @property
    def last(self) -> httpx2.Request:
        return self.requests[-1]

    @property
    def body(self) -> Any:
        return json.loads(self.last.content)

    @property
    def path(self) -> str:
        """The last path as it was on the wire."""
        return self.last.url.raw_path.decode()


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def client(store: Store) -> Client:
    """A client of the store, which module functions use; its waits are only noted."""
    connection.current = Client(
        "http://store.example",
        "ist_secret",
        transport=httpx2.MockTransport(store),
        retries=Retries(chance=lambda: 0.5),
        sleep=store.waits.append,
    )
    yield connection.current
    connection.current = None


@pytest.fixture
def async_client(store: Store) -> AsyncClient:
    async def sleep(seconds: float) -> None:
        store.waits.append(seconds)

    connection.current_async = AsyncClient(
        "http://store.example",
        "ist_secret",
        transport=httpx2.MockTransport(store),
        retries=Retries(chance=lambda: 0.5),
        sleep=sleep,
    )
    yield connection.current_async
    connection.current_async = None


@pytest.fixture
def row() -> Callable[..., dict[str, Any]]:
    """``row("a", data_source="quay")``: an inference as the store writes it."""

    def made(inference_id: str = "a", **fields: Any) -> dict[str, Any]:
        return {
            "model_id": "m",
            "inference_id": inference_id,
            "created_at": "2026-01-31T12:00:00.123456Z",
            "updated_at": "2026-01-31T12:00:00.123456Z",
            "inference_action": "detect",
            "data": None,
            "metadata": [],
            "data_hash": "0" * 64,
            "data_size": 3,
            "version": "1",
            "notes": None,
        } | fields

    return made


NOT_FOUND = (404, {"status": 404, "code": "not-found", "detail": "Nothing here."})


@pytest.fixture
def not_found() -> tuple[int, dict[str, Any]]:
    return NOT_FOUND
