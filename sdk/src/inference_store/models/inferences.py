"""Inferences: as the store returns them, and as they are stored without the proxy."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from inference_store.models.answer_fields import ClassProbability, Detection, Entity
from inference_store.models.base import AnswerModel, RequestModel, plain_list
from inference_store.models.embeddings import read_embedding
from inference_store.models.enums import InferenceAction
from inference_store.models.filters import GeoPoint
from inference_store.models.metadata import Metadata, NewMetadataCollectionRequest
from inference_store.requests import encode_json


class Inference(AnswerModel):
    """One stored inference. ``data`` is the answer of the model.

    ``detections`` and the fields after it are read out of answer and input.
    ``get_inference`` returns all of them, a list only those in its ``fields``. ``unread``
    says which could not be read, and why.
    """

    model_id: str
    inference_id: str
    created_at: datetime
    updated_at: datetime
    inference_action: str
    data: str | None = None
    embedding_distance: float | None = None
    metadata: list[Metadata] | None = None
    data_hash: str
    data_source: str | None = None
    data_coordinates: GeoPoint | None = None
    data_storage_key: str | None = None
    presigned_url: str | None = None
    is_protected: bool = False
    version: str
    detections: list[Detection] | None = None
    probabilities: list[ClassProbability] | None = None
    entities: list[Entity] | None = None
    prediction: dict[str, Any] | None = None
    prompt: str | None = None
    response: str | None = None
    unread: dict[str, str] = Field(default_factory=dict)

    @property
    def structured_embedding(self) -> list[int | float] | None:
        """The vector in the model's answer; None if there is none."""
        is_embed = self.inference_action == InferenceAction.EMBED
        return read_embedding(self.data, is_embed=is_embed)


class NewInferenceAndMetadataCollection(RequestModel):
    """A model's answer in structured form, and the metadata.

    Items of ``object_detection`` are ``{label, score, xmin, ymin, xmax, ymax}`` in
    pixels, of ``oriented_object_detection`` ``{label, score, cx, cy, w, h, r}``, of
    ``image_classification`` ``{label, score}``, of ``image_segmentation``
    ``{label, score, contours}``. ``classification`` and ``text_classification`` hold
    ``{label, score}``, ``named_entities`` ``{label, start, end, score}``, ``ranking``
    ``{item, score}``; ``regression`` is ``{value, lower, upper}``, ``multi_output``
    ``{name: value}``, ``time_series`` ``{values, times, lower, upper, history}``,
    ``text_generation`` ``{text}`` or ``{messages: [{role, content}]}``. Beside any
    answer: ``shap_values`` ``{feature: value}``, further ``embeddings`` ``{name:
    vector}`` and ``inputs`` ``{name: value}``.
    """

    image_classification: list[dict[str, Any]] | None = None
    object_detection: list[dict[str, Any]] | None = None
    image_segmentation: list[dict[str, Any]] | None = None
    oriented_object_detection: list[dict[str, Any]] | None = None
    embedding: Annotated[list[float] | None, BeforeValidator(plain_list)] = None
    metadata: NewMetadataCollectionRequest
    classification: list[dict[str, Any]] | None = None
    text_classification: list[dict[str, Any]] | None = None
    named_entities: list[dict[str, Any]] | None = None
    ranking: list[dict[str, Any]] | None = None
    regression: dict[str, Any] | float | None = None
    multi_output: dict[str, Any] | None = None
    time_series: dict[str, Any] | None = None
    text_generation: dict[str, Any] | str | None = None
    shap_values: dict[str, float] | None = None
    embeddings: (
        dict[str, Annotated[list[float], BeforeValidator(plain_list)]] | None
    ) = None
    inputs: dict[str, Any] | None = None

    def encode(self) -> bytes:
        """Return the bytes of the file that ``upload_inference_and_metadata`` takes."""
        return encode_json(self)


class NewInferenceStorageRequest(RequestModel):
    """An inference to store.

    ``data_storage_key`` is the key of an uploaded input. ``created_at`` is when the
    inference happened; it is now when not given.
    """

    model_id: str
    inference_id: str
    data: NewInferenceAndMetadataCollection
    data_storage_key: str | None = None
    is_protected: bool = False
    created_at: datetime | None = None


class BatchResult(AnswerModel):
    """The result for one inference of a batch.

    ``status`` is ``created``, ``exists`` (with the same content) or ``refused``; then
    ``code`` and ``detail`` say why.
    """

    inference_id: str | None = None
    status: str
    code: str | None = None
    detail: str | None = None

    @property
    def is_stored(self) -> bool:
        return self.status in ("created", "exists")
