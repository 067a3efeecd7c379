"""Clients of OpenAI's package, pointed at the proxy."""

from __future__ import annotations

import httpx2
import pytest

from inference_store import Client
from inference_store.aio import AsyncClient

openai = pytest.importorskip("openai")

MODEL = {
    "model_id": "org/support",
    "project_id": "p",
    "task_type": "Text Generation",
    "created_at": "2026-01-01T00:00:00Z",
    "updated_at": "2026-01-01T00:00:00Z",
    "embedding_size": 0,
    "proxy_url": "http://proxy.example:8001/",
}


def fetched(request: httpx2.Request) -> httpx2.Response:
    return httpx2.Response(200, json=MODEL)


def test_the_address_is_that_of_the_model_and_the_key_the_token():
    client = Client(
        "http://s.example", "ist_x", transport=httpx2.MockTransport(fetched)
    )

    made = client.openai("org/support", max_retries=0)

    assert isinstance(made, openai.OpenAI)
    assert str(made.base_url) == "http://proxy.example:8001/models/org%2Fsupport/v1/"
    assert made.api_key == "ist_x"
    assert made.max_retries == 0


async def test_the_key_of_the_model_server_stands_behind_the_token():
    transport = httpx2.MockTransport(fetched)
    client = AsyncClient("http://s.example", "ist_x", transport=transport)

    made = await client.openai("org/support", "sk-1")

    assert isinstance(made, openai.AsyncOpenAI)
    assert made.api_key == "ist_x:sk-1"
