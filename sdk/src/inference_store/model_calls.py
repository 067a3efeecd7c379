"""The calls of a model, and what they return; nothing here knows how a call is sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Generic, TypeVar

from inference_store.errors import InferenceStoreError

A = TypeVar("A")

CustomMetadata = Mapping[str, Any] | Sequence[Mapping[str, Any]] | None


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

    @property
    def outputs(self) -> list[dict[str, Any]]:
        """The output tensors."""
        return list(self.get("outputs") or ())

    def _recorded_ids(self) -> list[str]:
        """Return the ids of the inferences. Raises if the proxy recorded no copy."""
        if not self.recorded:
            raise InferenceStoreError(f"No copy was recorded: {self.record_status}.")
        return self.inference_ids

    def _recorded_id(self) -> str:
        """Return the id of the single inference. Raises if there are several."""
        if len(self._recorded_ids()) != 1:
            raise InferenceStoreError(
                "The request had several parts: see inferences()."
            )
        return self.inference_ids[0]


class ModelCalls(Generic[A]):
    """The methods that call a model. ``A`` is their result: an answer, or one to be awaited."""

    def predict(
        self,
        data: Any,
        custom_metadata: CustomMetadata = None,
        inference_id: str | None = None,
    ) -> A:
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
        return self._call("predict", data, custom_metadata, inference_id)

    def predict_proba(
        self,
        data: Any,
        custom_metadata: CustomMetadata = None,
        inference_id: str | None = None,
    ) -> A:
        """Call the model for the probability of each class; parameters as for ``predict``."""
        return self._call("predict_proba", data, custom_metadata, inference_id)

    def detect(
        self,
        data: Any,
        custom_metadata: CustomMetadata = None,
        inference_id: str | None = None,
    ) -> A:
        """Call the model to detect objects in a picture; parameters as for ``predict``."""
        return self._call("detect", data, custom_metadata, inference_id)

    def embed(
        self,
        data: Any,
        custom_metadata: CustomMetadata = None,
        inference_id: str | None = None,
    ) -> A:
        """Call the model for an embedding; parameters as for ``predict``."""
        return self._call("embed", data, custom_metadata, inference_id)

    def _call(
        self,
        action: str,
        data: Any,
        custom_metadata: CustomMetadata,
        inference_id: str | None,
    ) -> A:
        raise NotImplementedError
