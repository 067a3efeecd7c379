"""Models that can be called: one request through the proxy, which records it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import httpx2

from inference_store.calls import Call, document, get, one, patch, segment, written
from inference_store.errors import InferenceStoreError
from inference_store.metadata_text import items
from inference_store.models import InferenceAction
from inference_store.models import Model as RegisteredModel
from inference_store.tensors import input_tensor

if TYPE_CHECKING:
    from inference_store.aio.client import AsyncClient
    from inference_store.client import Client

CustomMetadata = Mapping[str, Any] | Sequence[Mapping[str, Any]] | None

INFER_SECONDS = 120.0  # longer than the proxy waits for a model server


class Answer(dict[str, Any]):
    """A V2 response as it was parsed: ``answer["outputs"][0]["data"]``.

    ``inference_id`` is the id under which the store will know the inference;
    ``recorded`` whether it is safe there; ``record_status`` the proxy's own words, such
    as ``not-recorded; reason=storage-off``.
    """

    def __init__(
        self, response: Mapping[str, Any], inference_id: str | None, record_status: str
    ) -> None:
        super().__init__(response)
        self.inference_id = inference_id
        self.record_status = record_status

    @property
    def recorded(self) -> bool:
        return self.record_status.partition(";")[0].strip() == "recorded"

    @property
    def outputs(self) -> list[dict[str, Any]]:
        """The output tensors."""
        return list(self.get("outputs") or ())


class _Served:
    """What the two kinds of model share: the resource, and the calls about it."""

    def __init__(self, resource: RegisteredModel) -> None:
        self.resource = resource

    @property
    def model_id(self) -> str:
        return self.resource.model_id

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
        """Change how the model is served and stored; it counts within a second.

        Parameters:
            settings: any of ``upstream_url``, ``upstream_model``, ``class_labels``,
                ``box_format``, ``enable_inference_storage``, ``strip_metadata``.

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
    ) -> Answer:
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
    ) -> Answer:
        """Ask for the probability of each class; parameters as for ``predict``."""
        return self._ask(
            InferenceAction.PREDICT_PROBA, data, custom_metadata, inference_id
        )

    def detect(
        self,
        data: Any,
        custom_metadata: CustomMetadata = None,
        inference_id: str | None = None,
    ) -> Answer:
        """Ask what is where in a picture; parameters as for ``predict``."""
        return self._ask(InferenceAction.DETECT, data, custom_metadata, inference_id)

    def embed(
        self,
        data: Any,
        custom_metadata: CustomMetadata = None,
        inference_id: str | None = None,
    ) -> Answer:
        """Ask for an embedding; parameters as for ``predict``."""
        return self._ask(InferenceAction.EMBED, data, custom_metadata, inference_id)

    def _ask(self, action: InferenceAction, *asked: Any) -> Answer:
        return self._client.run(self._infer(action, *asked))


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
    ) -> Answer:
        """Ask for labels, as ``Model.predict`` does."""
        return await self._ask(
            InferenceAction.PREDICT, data, custom_metadata, inference_id
        )

    async def predict_proba(
        self,
        data: Any,
        custom_metadata: CustomMetadata = None,
        inference_id: str | None = None,
    ) -> Answer:
        """Ask for probabilities, as ``Model.predict_proba`` does."""
        return await self._ask(
            InferenceAction.PREDICT_PROBA, data, custom_metadata, inference_id
        )

    async def detect(
        self,
        data: Any,
        custom_metadata: CustomMetadata = None,
        inference_id: str | None = None,
    ) -> Answer:
        """Ask what is where, as ``Model.detect`` does."""
        return await self._ask(
            InferenceAction.DETECT, data, custom_metadata, inference_id
        )

    async def embed(
        self,
        data: Any,
        custom_metadata: CustomMetadata = None,
        inference_id: str | None = None,
    ) -> Answer:
        """Ask for an embedding, as ``Model.embed`` does."""
        return await self._ask(
            InferenceAction.EMBED, data, custom_metadata, inference_id
        )

    async def _ask(self, action: InferenceAction, *asked: Any) -> Answer:
        return await self._client.run(self._infer(action, *asked))


def fetch_model(model_id: str) -> Call[RegisteredModel]:
    return get("models", model_id, read=one(RegisteredModel))


def _read_answer(response: httpx2.Response) -> Answer:
    inference_id = response.headers.get("inference-id")
    return Answer(
        document(response),
        unquote(inference_id) if inference_id else None,
        response.headers.get("inference-store", ""),
    )
