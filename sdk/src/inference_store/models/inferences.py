"""Inferences: as they are found, and as they are stored without the proxy."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from inference_store.models.answer_fields import ClassProbability, Detection, Entity
from inference_store.models.base import (
    AnswerModel,
    RequestModel,
    encoded,
    plain_list,
)
from inference_store.models.embeddings import read_embedding
from inference_store.models.enums import InferenceAction
from inference_store.models.filters import GeoPoint
from inference_store.models.metadata import Metadata, NewMetadataCollectionRequest


class Inference(AnswerModel):
    """One inference of the store. ``data`` is what the model answered.

    ``detections`` and what follows is what the store understood of it: ``get_inference``
    brings all, a list what its ``fields`` ask for. ``unread`` says which of them could
    not be read, and why.
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
        """The vector that the model answered; None when there is none."""
        is_embed = self.inference_action == InferenceAction.EMBED
        return read_embedding(self.data, is_embed=is_embed)


class NewInferenceAndMetadataCollection(RequestModel):
    """What a model answered, deconstructed, and the metadata.

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
        """The collection as the file that ``upload_inference_and_metadata`` takes."""
        return encoded(self)


class NewInferenceStorageRequest(RequestModel):
    """An inference to store.

    ``data_storage_key`` is that of an uploaded input. ``created_at`` is when the
    inference happened, if not now.
    """

    model_id: str
    inference_id: str
    data: NewInferenceAndMetadataCollection
    data_storage_key: str | None = None
    is_protected: bool = False
    created_at: datetime | None = None


class BatchResult(AnswerModel):
    """What became of one inference of a batch.

    ``status`` is ``created``, ``exists`` (with the same content) or ``refused``, with a
    problem's ``code`` and ``detail``.
    """

    inference_id: str | None = None
    status: str
    code: str | None = None
    detail: str | None = None

    @property
    def is_stored(self) -> bool:
        return self.status in ("created", "exists")
