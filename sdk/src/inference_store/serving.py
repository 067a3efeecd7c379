"""Models that can be called: one request through the proxy, which records it."""

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
    """A V2 response as it was parsed: ``answer["outputs"][0]["data"]``.

    ``inference_ids`` are the ids under which the store will know the inferences, one for
    each part of the request; ``recorded`` whether they are safe there; ``record_status``
    the proxy's own words, such as ``not-recorded; reason=storage-off``.
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
        """The id of the inference; of a request of several parts the list of all."""
        ids = self.inference_ids
        return ids if len(ids) > 1 else next(iter(ids), None)

    @property
    def recorded(self) -> bool:
        return self.record_status.partition(";")[0].strip() == "recorded"

    def _id_to_find(self) -> str:
        """The id of the one inference. Raises where there is none to wait for."""
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
    """The answer of a ``Model``, which can be found as it is stored."""

    def __init__(self, answer: Answer, client: Client, model_id: str) -> None:
        super().__init__(answer, answer.inference_ids, answer.record_status)
        self._client, self._model_id = client, model_id

    def inference(self, wait: float = 10.0) -> Inference:
        """The inference as it is stored.

        Parameters:
            wait: seconds to wait for it: what is ``recorded`` is on disk, and found a
                moment later.

        Raises:
            NotFound: it is not there yet.
            InferenceStoreError: no copy was recorded, or any other failure.
        """
        return _find(self._client, self._model_id, self._id_to_find(), wait)

    def inferences(self, wait: float = 10.0) -> list[Inference]:
        """The inferences of all parts of the request, as ``inference`` finds one."""
        if not self.recorded:
            raise InferenceStoreError(f"No copy was recorded: {self.record_status}.")
        end = time.monotonic() + wait
        return [
            _find(self._client, self._model_id, each, end - time.monotonic())
            for each in self.inference_ids
        ]


class AsyncModelAnswer(Answer):
    """The answer of an ``AsyncModel``."""

    def __init__(self, answer: Answer, client: AsyncClient, model_id: str) -> None:
        super().__init__(answer, answer.inference_ids, answer.record_status)
        self._client, self._model_id = client, model_id

    async def inference(self, wait: float = 10.0) -> Inference:
        """The inference as it is stored, as ``ModelAnswer.inference`` finds it."""
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
    """What the two kinds of model share: the resource, and the calls about it."""

    def __init__(self, resource: RegisteredModel) -> None:
        self.resource = resource

    @property
    def model_id(self) -> str:
        return self.resource.model_id

    @property
    def id(self) -> str:
        """The model's id, by its short name."""
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
        """Where the proxy listens: ``ISTORE_PROXY_URL``, else what the store says."""
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
            # Parameters of the protocol are strings, numbers and booleans.
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
        """Change how the model is served and stored; it counts for the next call.

        Parameters:
            settings: any of ``upstream_url``, ``upstream_model``, ``class_labels``,
                ``first_class_number`` (1 where 0 is the background), ``box_format``,
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
        """Ask for labels.

        Parameters:
            data: bytes, the path of a file, a PIL image (sent as PNG), a numpy array or
                a list of numbers (sent as FP64).
            custom_metadata: key → text, number or mapping, kept with the inference;
                ``latitude``, ``longitude`` and ``data_source`` have places of their own.
            inference_id: the id for it; the proxy makes one when not given.

        Returns:
            The parsed response, with ``inference_id`` and ``recorded``.

        Raises:
            NotFound: the proxy does not know the model.
            ServerError: the model server failed, or did not answer in time.
            InferenceStoreError: any other failure.
        """
        return self._ask(InferenceAction.PREDICT, data, custom_metadata, inference_id)

    def predict_proba(
        self,
        data: Any,
        custom_metadata: CustomMetadata = None,
        inference_id: str | None = None,
    ) -> ModelAnswer:
        """Ask for the probability of each class; parameters as for ``predict``."""
        return self._ask(
            InferenceAction.PREDICT_PROBA, data, custom_metadata, inference_id
        )

    def detect(
        self,
        data: Any,
        custom_metadata: CustomMetadata = None,
        inference_id: str | None = None,
    ) -> ModelAnswer:
        """Ask what is where in a picture; parameters as for ``predict``."""
        return self._ask(InferenceAction.DETECT, data, custom_metadata, inference_id)

    def embed(
        self,
        data: Any,
        custom_metadata: CustomMetadata = None,
        inference_id: str | None = None,
    ) -> ModelAnswer:
        """Ask for an embedding; parameters as for ``predict``."""
        return self._ask(InferenceAction.EMBED, data, custom_metadata, inference_id)

    def _ask(self, action: InferenceAction, *asked: Any) -> ModelAnswer:
        answer = self._client.run(self._infer(action, *asked))
        return ModelAnswer(answer, self._client, self.model_id)


class AsyncModel(_Served):
    """``Model``, with calls to be awaited; ``aio.get_model`` makes it."""

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
        """Ask for labels, as ``Model.predict`` does."""
        return await self._ask(
            InferenceAction.PREDICT, data, custom_metadata, inference_id
        )

    async def predict_proba(
        self,
        data: Any,
        custom_metadata: CustomMetadata = None,
        inference_id: str | None = None,
    ) -> AsyncModelAnswer:
        """Ask for probabilities, as ``Model.predict_proba`` does."""
        return await self._ask(
            InferenceAction.PREDICT_PROBA, data, custom_metadata, inference_id
        )

    async def detect(
        self,
        data: Any,
        custom_metadata: CustomMetadata = None,
        inference_id: str | None = None,
    ) -> AsyncModelAnswer:
        """Ask what is where, as ``Model.detect`` does."""
        return await self._ask(
            InferenceAction.DETECT, data, custom_metadata, inference_id
        )

    async def embed(
        self,
        data: Any,
        custom_metadata: CustomMetadata = None,
        inference_id: str | None = None,
    ) -> AsyncModelAnswer:
        """Ask for an embedding, as ``Model.embed`` does."""
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
    # Commas part the ids of a request of several parts; those within an id are escaped.
    ids = [unquote(each.strip()) for each in header.split(",") if each.strip()]
    return Answer(document(response), ids, response.headers.get("inference-store", ""))
