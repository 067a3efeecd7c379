"""Metadata, its counts and its statistics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field, field_validator

from inference_store.models.base import AnswerModel, RequestModel
from inference_store.models.enums import (
    InferenceAction,
    MetadataStatisticsType,
    MetadataType,
    TaskType,
)
from inference_store.models.filters import BaseInferenceFilter
from inference_store.models.queries import Question
from inference_store.requests import encode_json


class Metadata(AnswerModel):
    """One metadata value of an inference. ``value`` is a text, JSON for the type ``json``."""

    key: str
    type: str
    value: str


class NewExtendedMetadataRequest(RequestModel):
    """One metadata value under a key that the caller chose."""

    key: str
    type: MetadataType
    value: str = Field(coerce_numbers_to_str=True)


class NewStandardMetadataRequest(RequestModel):
    """Metadata of every inference: hash and size of its input, and the action asked for."""

    data_hash: str
    data_size: int
    task_type: TaskType
    inference_action: InferenceAction
    data_source: str | None = None
    latitude: float | None = None
    longitude: float | None = None


REQUIRED = frozenset(
    name
    for name, field in NewStandardMetadataRequest.model_fields.items()
    if field.is_required()
)


class NewMetadataCollectionRequest(RequestModel):
    """The metadata of a new inference.

    ``NewMetadataCollectionRequest(**map_to_inference_store_metadata(…))`` is allowed. Standard
    metadata that are missing then, such as the hash of the input, must be set before sending.
    """

    standard_metadata: NewStandardMetadataRequest
    extended_metadata: list[NewExtendedMetadataRequest] = Field(default_factory=list)

    @field_validator("standard_metadata", mode="before")
    @classmethod
    def _take_part(cls, given: Any) -> Any:
        kind: type[RequestModel] = NewStandardMetadataRequest
        if not isinstance(given, Mapping) or given.keys() & REQUIRED:
            return given
        part = kind.model_construct()
        for name, value in given.items():
            setattr(part, name, value)  # each assignment is validated
        return part

    def encode(self) -> bytes:
        """Return the metadata as JSON in UTF-8, without fields that were not set."""
        return encode_json(self)


class MetadataKeyTypeCounts(AnswerModel):
    """Metadata keys: ``counts[key][type]`` is the number of inferences that have them."""

    counts: dict[str, dict[str, int]]


class NewGetMetadataStatisticsRequest(Question):
    """Which values to count, and the bins of numbers.

    By default ten bins from the smallest to the largest value. A number of bins or a width
    (not both), and limits, change that.
    """

    filters: BaseInferenceFilter | None = None
    key: str
    type: MetadataStatisticsType
    distribution_bin_count: int | None = None
    distribution_bin_width: float | None = None
    distribution_maximum_value: float | None = None
    distribution_minimum_value: float | None = None


class MetadataStatistics(AnswerModel):
    """Statistics of a key. ``distribution`` counts by value, for numbers by bin ``"[lo, hi)"``.

    ``source`` is ``lake`` for a time of which the store has no records any more, and
    ``records-and-lake`` where the lake adds what the store has removed.
    """

    count: int | None = None
    distribution: dict[str, int] | None = None
    min: float | None = None
    max: float | None = None
    source: str | None = None
