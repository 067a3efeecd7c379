"""The models, loaded once, and the server asked in process.

What is installed for the demonstration alone is imported by the fixtures, so that the
tests can be skipped without it.
"""

from __future__ import annotations

import asyncio
import io
import json
from dataclasses import dataclass
from typing import Any

import pytest


@dataclass
class Reply:
    status: int
    headers: Any
    body: bytes

    @property
    def value(self) -> dict[str, Any]:
        return json.loads(self.body)

    def output(self, name: str) -> dict[str, Any]:
        return next(each for each in self.value["outputs"] if each["name"] == name)


@pytest.fixture(scope="session")
def loaded():
    from demo import models

    return models.load()


@pytest.fixture
def ask(loaded):
    """Sends one request to the server: ``ask("POST", "/v2/…", data=…)``."""
    from aiohttp.test_utils import TestClient, TestServer

    from demo.server import make_app

    async def asked(method: str, path: str, **options: Any) -> Reply:
        async with (
            TestClient(TestServer(make_app(loaded))) as client,
            client.request(method, path, **options) as response,
        ):
            return Reply(response.status, response.headers, await response.read())

    return lambda *args, **options: asyncio.run(asked(*args, **options))


@pytest.fixture
def infer(ask):
    """Asks a model about tensors, as JSON or with the data of all of them raw."""
    from demo.v2 import HEADER_LENGTH, write_message

    def inferred(model, *tensors, binary=False, headers=None, **document):
        body, length = write_message(
            document, "inputs", [(tensor, binary) for tensor in tensors]
        )
        headers = dict(headers or {})
        if length is not None:
            headers[HEADER_LENGTH] = str(length)
        path = f"/v2/models/{model}/infer"
        return ask("POST", path, data=io.BytesIO(body), headers=headers)

    return inferred


@pytest.fixture
def image_tensor():
    """A picture as the tensor of a request."""
    from demo.v2 import Tensor

    def made(image, name="image"):
        buffer = io.BytesIO()
        image.save(buffer, "PNG")
        return Tensor(name, "BYTES", (1,), [buffer.getvalue()])

    return made
