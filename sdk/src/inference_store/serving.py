"""Models to call: each call is one V2 request through the proxy, which records it."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Coroutine, Mapping
from typing import Any, TypeVar
from urllib.parse import unquote

import httpx2

from inference_store.binding import plan_of
from inference_store.errors import InferenceStoreError, NotFound
from inference_store.inference import get_inference
from inference_store.metadata_text import items
from inference_store.model_calls import Answer, CustomMetadata, ModelCalls
from inference_store.models import Inference, TaskType
from inference_store.models import Model as RegisteredModel
from inference_store.requests import (
    Call,
    Pause,
    Steps,
    encode_json,
    json_object,
    one,
    patch,
    segment,
)
from inference_store.sender import AsyncSender, Sender
from inference_store.tensors import input_tensor

A = TypeVar("A")

POLL_SECONDS = 0.05
INFER_SECONDS = 120.0  # longer than the proxy waits for a model server


class ModelAnswer(Answer):
    """The answer of a ``Model``, with ``inference`` to fetch the stored record."""

    def __init__(self, answer: Answer, client: Sender, model_id: str) -> None:
        super().__init__(answer, answer.inference_ids, answer.record_status)
        self._client, self._model_id = client, model_id

    def inference(self, wait: float = 10.0) -> Inference:
        """Return the stored inference of this answer.

        Parameters:
            wait: seconds to wait until it is found. ``recorded`` means that it is on the
                proxy's disk; its record follows a moment later.

        Raises:
            NotFound: it is not there yet when the wait is over.
            InferenceStoreError: no copy was recorded, or any other failure.
        """
        return self._client.run(_find(self._model_id, [self._recorded_id()], wait))[0]

    def inferences(self, wait: float = 10.0) -> list[Inference]:
        """Return the stored inferences of all parts of the request; see ``inference``."""
        return self._client.run(_find(self._model_id, self._recorded_ids(), wait))


class AsyncModelAnswer(Answer):
    """The answer of an ``AsyncModel``, with ``inference`` to fetch the stored record."""

    def __init__(self, answer: Answer, client: AsyncSender, model_id: str) -> None:
        super().__init__(answer, answer.inference_ids, answer.record_status)
        self._client, self._model_id = client, model_id

    async def inference(self, wait: float = 10.0) -> Inference:
        """Return the stored inference of this answer, as ``ModelAnswer.inference`` does."""
        steps = _find(self._model_id, [self._recorded_id()], wait)
        return (await self._client.run(steps))[0]

    async def inferences(self, wait: float = 10.0) -> list[Inference]:
        """Return the stored inferences of all parts, as ``ModelAnswer.inferences`` does."""
        return await self._client.run(_find(self._model_id, self._recorded_ids(), wait))


def _find(
    model_id: str, inference_ids: list[str], wait: float
) -> Steps[list[Inference]]:
    """Poll until each inference is stored, for ``wait`` seconds in all, and return them."""
    end = time.monotonic() + wait
    stored: list[Inference] = []
    for inference_id in inference_ids:
        call = plan_of(get_inference)(model_id, inference_id)
        while (inference := (yield call)) is None:
            if time.monotonic() >= end:
                raise NotFound(f"{inference_id!r} of {model_id!r} is not there yet.")
            yield Pause(POLL_SECONDS)
        stored.append(inference)
    return stored


class _ServedModel(ModelCalls[A]):
    """What ``Model`` and ``AsyncModel`` share: the registered model and its requests."""

    def __init__(self, resource: RegisteredModel) -> None:
        self.resource = resource

    @property
    def model_id(self) -> str:
        return self.resource.model_id

    @property
    def id(self) -> str:
        """The model's id; the same as ``model_id``."""
        return self.resource.model_id

    @property
    def project_id(self) -> str | None:
        return self.resource.project_id

    @property
    def task(self) -> TaskType:
        """The task type that the model is registered with."""
        return self.resource.task

    @property
    def proxy_url(self) -> str:
        """URL of the proxy: ``ISTORE_PROXY_URL``, else the one that the store names."""
        url = os.environ.get("ISTORE_PROXY_URL") or self.resource.proxy_url
        if not url:
            raise InferenceStoreError(
                "The store does not say where its proxy is; set ISTORE_PROXY_URL."
            )
        return url.rstrip("/")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.model_id!r})"

    def _settings(self, settings: Mapping[str, Any]) -> Call[RegisteredModel]:
        return patch(
            "models",
            self.model_id,
            "inference-server-settings",
            body=settings,
            read=one(RegisteredModel),
        )

    def _infer(
        self,
        action: str,
        data: Any,
        custom_metadata: CustomMetadata,
        inference_id: str | None,
    ) -> Call[Answer]:
        tensor = input_tensor(data)
        tensor["parameters"]["action"] = action
        if custom_metadata:
            # V2 parameters can only be strings, numbers and booleans.
            tensor["parameters"]["metadata"] = json.dumps(
                items(custom_metadata), ensure_ascii=False
            )
        body: dict[str, Any] = {"inputs": [tensor]}
        if inference_id is not None:
            body["id"] = inference_id
        return Call(
            "POST",
            f"{self.proxy_url}/v2/models/{segment(self.model_id)}/infer",
            _read_answer,
            encode_json(body),
            headers={"Content-Type": "application/json"},
            timeout=INFER_SECONDS,
        )


class Model(_ServedModel[ModelAnswer]):
    """A registered model, to call through the proxy; ``get_model`` makes it."""

    def __init__(self, client: Sender, resource: RegisteredModel) -> None:
        super().__init__(resource)
        self._client = client

    def set_inference_server_settings(self, settings: Mapping[str, Any]) -> None:
        """Change how the model is served and stored, from the next call on.

        Parameters:
            settings: any of ``upstream_url``, ``upstream_model``, ``class_labels``,
                ``first_class_number`` (1 if number 0 is the background), ``box_format``,
                ``enable_inference_storage``, ``strip_metadata``, ``keep_failures`` (store calls
                that failed, too).

        Raises:
            ValidationError: a setting is unknown or not valid.
            InferenceStoreError: any other failure.
        """
        self.resource = self._client.run(self._settings(settings))

    def _call(self, action: str, *request: Any) -> ModelAnswer:
        answer = self._client.run(self._infer(action, *request))
        return ModelAnswer(answer, self._client, self.model_id)


class AsyncModel(_ServedModel[Coroutine[Any, Any, AsyncModelAnswer]]):
    """``Model`` for asyncio: its calls are awaited. ``aio.get_model`` makes it."""

    def __init__(self, client: AsyncSender, resource: RegisteredModel) -> None:
        super().__init__(resource)
        self._client = client

    async def set_inference_server_settings(self, settings: Mapping[str, Any]) -> None:
        """Change how the model is served, as ``Model`` does."""
        self.resource = await self._client.run(self._settings(settings))

    async def _call(self, action: str, *request: Any) -> AsyncModelAnswer:
        answer = await self._client.run(self._infer(action, *request))
        return AsyncModelAnswer(answer, self._client, self.model_id)


def _read_answer(response: httpx2.Response) -> Answer:
    header = response.headers.get("inference-id", "")
    # The header separates the ids of several parts by commas; commas in an id are escaped.
    ids = [unquote(part.strip()) for part in header.split(",") if part.strip()]
    return Answer(
        json_object(response), ids, response.headers.get("inference-store", "")
    )
