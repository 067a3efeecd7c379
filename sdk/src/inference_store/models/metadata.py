"""Metadata, its counts and its statistics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field, field_validator

from inference_store.models.base import AnswerModel, RequestModel, encoded
from inference_store.models.enums import (
    InferenceAction,
    MetadataStatisticsType,
    MetadataType,
    TaskType,
)
from inference_store.models.filters import BaseInferenceFilter
from inference_store.models.queries import Question


class Metadata(AnswerModel):
    """One value of an inference; ``value`` is text, JSON text for the type ``json``."""

    key: str
    type: str
    value: str


class NewExtendedMetadataRequest(RequestModel):
    """One value under a key of one's own."""

    key: str
    type: MetadataType
    value: str = Field(coerce_numbers_to_str=True)


class NewStandardMetadataRequest(RequestModel):
    """What every inference has: the hash and size of its input, and what was asked."""

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

    ``NewMetadataCollectionRequest(**map_to_inference_store_metadata(…))`` fits: what its
    standard metadata lack, such as the hash of the input, is set before it is sent.
    """

    standard_metadata: NewStandardMetadataRequest
    extended_metadata: list[NewExtendedMetadataRequest] = Field(default_factory=list)

    @field_validator("standard_metadata", mode="before")
    @classmethod
    def _take_part(cls, given: Any) -> Any:
        kind = NewStandardMetadataRequest
        if not isinstance(given, Mapping) or given.keys() & REQUIRED:
            return given
        part = kind.model_construct()
        for name, value in given.items():
            setattr(part, name, value)  # checked one by one
        return part

    def encode(self) -> bytes:
        """The metadata as JSON in UTF-8, what was not set left out."""
        return encoded(self)


class MetadataKeyTypeCounts(AnswerModel):
    """``counts[key][type]`` is the number of inferences with it."""

    counts: dict[str, dict[str, int]]


class NewGetMetadataStatisticsRequest(Question):
    """Which values to look at, and into which bins to sort numbers.

    Ten bins from the smallest to the largest value, unless a count or a width (not
    both) or limits are given.
    """

    filters: BaseInferenceFilter | None = None
    key: str
    type: MetadataStatisticsType
    distribution_bin_count: int | None = None
    distribution_bin_width: float | None = None
    distribution_maximum_value: float | None = None
    distribution_minimum_value: float | None = None


class MetadataStatistics(AnswerModel):
    """``distribution`` is value → count for strings, ``"[lo, hi)"`` → count for numbers."""

    count: int | None = None
    distribution: dict[str, int] | None = None
    min: float | None = None
    max: float | None = None
