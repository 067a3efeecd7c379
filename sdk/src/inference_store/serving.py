"""Models to call: each call is one V2 request through the proxy, which records it."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import httpx2

from inference_store.errors import InferenceStoreError, NotFound
from inference_store.metadata_text import items
from inference_store.models import Inference, InferenceAction, TaskType
from inference_store.models import Model as RegisteredModel
from inference_store.requests import Call, document, get, one, patch, segment, written
from inference_store.tensors import input_tensor

if TYPE_CHECKING:
    from inference_store.aio.client import AsyncClient
    from inference_store.client import Client

CustomMetadata = Mapping[str, Any] | Sequence[Mapping[str, Any]] | None

POLL_SECONDS = 0.05
INFER_SECONDS = 120.0  # longer than the proxy waits for a model server


class Answer(dict[str, Any]):
    """The parsed V2 response of a call, a dict: ``answer["outputs"][0]["data"]``.

    ``inference_ids`` are the ids of the inferences in the store, one for each part of the
    request. ``recorded`` is whether the proxy has stored its copy durably.
    ``record_status`` is the proxy's header, such as ``not-recorded; reason=storage-off``.
    """

    def __init__(
        self,
        response: Mapping[str, Any],
        inference_ids: Sequence[str],
        record_status: str,
    ) -> None:
        super().__init__(response)
        self.inference_ids = list(inference_ids)
        self.record_status = record_status

    @property
    def inference_id(self) -> str | list[str] | None:
        """The id of the inference, or the list of ids if the request had several parts."""
        ids = self.inference_ids
        return ids if len(ids) > 1 else next(iter(ids), None)

    @property
    def recorded(self) -> bool:
        return self.record_status.partition(";")[0].strip() == "recorded"

    def _id_to_find(self) -> str:
        """The id of the single inference. Raises if there is none to wait for."""
        if not self.recorded:
            raise InferenceStoreError(f"No copy was recorded: {self.record_status}.")
        if len(self.inference_ids) != 1:
            raise InferenceStoreError(
                "The request had several parts: see inferences()."
            )
        return self.inference_ids[0]

    @property
    def outputs(self) -> list[dict[str, Any]]:
        """The output tensors."""
        return list(self.get("outputs") or ())


class ModelAnswer(Answer):
    """The answer of a ``Model``, with ``inference`` to fetch the stored record."""

    def __init__(self, answer: Answer, client: Client, model_id: str) -> None:
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
        return _find(self._client, self._model_id, self._id_to_find(), wait)

    def inferences(self, wait: float = 10.0) -> list[Inference]:
        """Return the stored inferences of all parts of the request; see ``inference``."""
        if not self.recorded:
            raise InferenceStoreError(f"No copy was recorded: {self.record_status}.")
        end = time.monotonic() + wait
        return [
            _find(self._client, self._model_id, each, end - time.monotonic())
            for each in self.inference_ids
        ]


class AsyncModelAnswer(Answer):
    """The answer of an ``AsyncModel``, with ``inference`` to fetch the stored record."""

    def __init__(self, answer: Answer, client: AsyncClient, model_id: str) -> None:
        super().__init__(answer, answer.inference_ids, answer.record_status)
        self._client, self._model_id = client, model_id

    async def inference(self, wait: float = 10.0) -> Inference:
        """Return the stored inference of this answer, as ``ModelAnswer.inference`` does."""
        inference_id, end = self._id_to_find(), time.monotonic() + wait
        while True:
            found = await self._client.inference.get_inference(
                self._model_id, inference_id
            )
            if found is not None:
                return found
            if time.monotonic() >= end:
                raise _not_there(self._model_id, inference_id)
            await asyncio.sleep(POLL_SECONDS)


def _find(client: Client, model_id: str, inference_id: str, wait: float) -> Inference:
    end = time.monotonic() + wait
    while True:
        found = client.inference.get_inference(model_id, inference_id)
        if found is not None:
            return found
        if time.monotonic() >= end:
            raise _not_there(model_id, inference_id)
        time.sleep(POLL_SECONDS)


def _not_there(model_id: str, inference_id: str) -> NotFound:
    return NotFound(f"{inference_id!r} of {model_id!r} is not there yet.")


class _Served:
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
        action: InferenceAction,
        data: Any,
        custom_metadata: CustomMetadata,
        inference_id: str | None,
    ) -> Call[Answer]:
        tensor = input_tensor(data)
        tensor["parameters"]["action"] = action.value
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
            written(body),
            headers={"Content-Type": "application/json"},
            timeout=INFER_SECONDS,
        )


class Model(_Served):
    """A registered model, to call through the proxy; ``get_model`` makes it."""

    def __init__(self, client: Client, resource: RegisteredModel) -> None:
        super().__init__(resource)
        self._client = client

    def set_inference_server_settings(self, settings: Mapping[str, Any]) -> None:
        """Change how the model is served and stored, from the next call on.

        Parameters:
            settings: any of ``upstream_url``, ``upstream_model``, ``class_labels``,
                ``first_class_number`` (1 if number 0 is the background), ``box_format``,
                ``enable_inference_storage``, ``strip_metadata``.

        Raises:
            ValidationError: a setting is unknown or not valid.
            InferenceStoreError: any other failure.
        """
        self.resource = self._client.run(self._settings(settings))

    def predict(
        self,
        data: Any,
        custom_metadata: CustomMetadata = None,
        inference_id: str | None = None,
    ) -> ModelAnswer:
        """Call the model for labels, and return its answer.

        Parameters:
            data: bytes, the path of a file, a PIL image (sent as PNG), a numpy array or
                a list of numbers (sent as FP64).
            custom_metadata: text, number or mapping by key, stored with the inference;
                ``latitude``, ``longitude`` and ``data_source`` become standard metadata.
            inference_id: the id of the inference; the proxy makes one when not given.

        Returns:
            The parsed response, with ``inference_id`` and ``recorded``.

        Raises:
            NotFound: the proxy does not know the model.
            ServerError: the model server failed, or did not answer within the timeout.
            InferenceStoreError: any other failure.
        """
        return self._ask(InferenceAction.PREDICT, data, custom_metadata, inference_id)

    def predict_proba(
        self,
        data: Any,
        custom_metadata: CustomMetadata = None,
        inference_id: str | None = None,
    ) -> ModelAnswer:
        """Call the model for the probability of each class; parameters as for ``predict``."""
        return self._ask(
            InferenceAction.PREDICT_PROBA, data, custom_metadata, inference_id
        )

    def detect(
        self,
        data: Any,
        custom_metadata: CustomMetadata = None,
        inference_id: str | None = None,
    ) -> ModelAnswer:
        """Call the model to detect objects in a picture; parameters as for ``predict``."""
        return self._ask(InferenceAction.DETECT, data, custom_metadata, inference_id)

    def embed(
        self,
        data: Any,
        custom_metadata: CustomMetadata = None,
        inference_id: str | None = None,
    ) -> ModelAnswer:
        """Call the model for an embedding; parameters as for ``predict``."""
        return self._ask(InferenceAction.EMBED, data, custom_metadata, inference_id)

    def _ask(self, action: InferenceAction, *asked: Any) -> ModelAnswer:
        answer = self._client.run(self._infer(action, *asked))
        return ModelAnswer(answer, self._client, self.model_id)


class AsyncModel(_Served):
    """``Model`` for asyncio: its calls are awaited. ``aio.get_model`` makes it."""

    def __init__(self, client: AsyncClient, resource: RegisteredModel) -> None:
        super().__init__(resource)
        self._client = client

    async def set_inference_server_settings(self, settings: Mapping[str, Any]) -> None:
        """Change how the model is served, as ``Model`` does."""
        self.resource = await self._client.run(self._settings(settings))

    async def predict(
        self,
        data: Any,
        custom_metadata: CustomMetadata = None,
        inference_id: str | None = None,
    ) -> AsyncModelAnswer:
        """Call the model for labels, as ``Model.predict`` does."""
        return await self._ask(
            InferenceAction.PREDICT, data, custom_metadata, inference_id
        )

    async def predict_proba(
        self,
        data: Any,
        custom_metadata: CustomMetadata = None,
        inference_id: str | None = None,
    ) -> AsyncModelAnswer:
        """Call the model for probabilities, as ``Model.predict_proba`` does."""
        return await self._ask(
            InferenceAction.PREDICT_PROBA, data, custom_metadata, inference_id
        )

    async def detect(
        self,
        data: Any,
        custom_metadata: CustomMetadata = None,
        inference_id: str | None = None,
    ) -> AsyncModelAnswer:
        """Call the model to detect objects, as ``Model.detect`` does."""
        return await self._ask(
            InferenceAction.DETECT, data, custom_metadata, inference_id
        )

    async def embed(
        self,
        data: Any,
        custom_metadata: CustomMetadata = None,
        inference_id: str | None = None,
    ) -> AsyncModelAnswer:
        """Call the model for an embedding, as ``Model.embed`` does."""
        return await self._ask(
            InferenceAction.EMBED, data, custom_metadata, inference_id
        )

    async def _ask(self, action: InferenceAction, *asked: Any) -> AsyncModelAnswer:
        answer = await self._client.run(self._infer(action, *asked))
        return AsyncModelAnswer(answer, self._client, self.model_id)


def fetch_model(model_id: str) -> Call[RegisteredModel]:
    return get("models", model_id, read=one(RegisteredModel))


def _read_answer(response: httpx2.Response) -> Answer:
    header = response.headers.get("inference-id", "")
    # The header separates the ids of several parts by commas; commas in an id are escaped.
    ids = [unquote(each.strip()) for each in header.split(",") if each.strip()]
    return Answer(document(response), ids, response.headers.get("inference-store", ""))
