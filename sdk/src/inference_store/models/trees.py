"""Filters with AND, OR and NOT, written as Python expressions.

``Leaf(data_source_filter="quay") & ~Leaf(has_key=HasKey(key="reviewed"))``
"""

from __future__ import annotations

from pydantic import ConfigDict, Field

from inference_store.models.base import RequestModel
from inference_store.models.enums import ComparisonOperator, MetadataFilterType
from inference_store.models.filters import (
    BaseInferenceFilter,
    DeconstructedInferenceFilter,
    MetadataFilter,
)


class Condition(RequestModel):
    """A filter tree or a part of one; combine them with ``&``, ``|`` and ``~``."""

    model_config = ConfigDict(
        extra="forbid",
        allow_inf_nan=False,
        validate_by_name=True,
        serialize_by_alias=True,
        protected_namespaces=(),
    )

    def __and__(self, other: Condition) -> And:
        return And.model_validate({"and": [*_parts(self, And), *_parts(other, And)]})

    def __or__(self, other: Condition) -> Or:
        return Or.model_validate({"or": [*_parts(self, Or), *_parts(other, Or)]})

    def __invert__(self) -> Not:
        return Not.model_validate({"not": self})


class Comparison(RequestModel):
    """A ``MetadataFilter`` that also has the further operators of trees."""

    key: str
    operator: ComparisonOperator
    type: MetadataFilterType
    value: str = Field(coerce_numbers_to_str=True)


class DetectionBounds(DeconstructedInferenceFilter):
    """Matches if one detection meets all conditions.

    ``above_score`` and ``below_score`` are exclusive bounds.
    """

    above_score: float | None = None
    below_score: float | None = None


class ClassFilter(RequestModel):
    """Matches a class of the distribution by label and probability, both of the same class.

    ``above_score`` and ``below_score`` are exclusive bounds.
    """

    label: str
    minimum_score: float | None = None
    maximum_score: float | None = None
    above_score: float | None = None
    below_score: float | None = None


class HasKey(RequestModel):
    """Matches if the metadata has the key, with this type or with any."""

    key: str
    type: str | None = None


class Leaf(Condition, BaseInferenceFilter):
    """Conditions that must all hold: those of ``BaseInferenceFilter``, and further ones.

    ``text``, ``prompt`` and ``answer`` search for what was said: words that must all be there,
    phrases in quotation marks, beginnings of words (``warn*``), ``-word`` and ``OR``.
    """

    metadata_filter: list[Comparison | MetadataFilter] | None = None  # type: ignore[assignment]  # wider than its base
    deconstructed_inference_filter: (
        DetectionBounds | DeconstructedInferenceFilter | None
    ) = None
    class_filter: ClassFilter | None = None
    has_key: HasKey | None = None
    has_input: bool | None = None
    has_warnings: bool | None = None
    is_not_understood: bool | None = None
    is_protected: bool | None = None
    no_detections: bool | None = None
    ground_truth: str | None = None
    ground_truth_label: str | None = None
    in_dataset: str | None = None
    in_split: str | None = None
    in_any_dataset: bool | None = None
    status: str | None = None
    text: str | None = None
    prompt: str | None = None
    answer: str | None = None
    in_trace: str | None = None
    model_version: str | None = None
    environment: str | None = None
    conversation_id: str | None = None


class And(Condition):
    """Matches if all parts match."""

    parts: list[Leaf | And | Or | Not] = Field(alias="and", min_length=1)


class Or(Condition):
    """Matches if at least one part matches."""

    parts: list[Leaf | And | Or | Not] = Field(alias="or", min_length=1)


class Not(Condition):
    """Matches exactly what the part does not match."""

    part: Leaf | And | Or | Not = Field(alias="not")


Tree = Leaf | And | Or | Not


def _parts(condition: Condition, kind: type[And | Or]) -> list[Condition]:
    return [*condition.parts] if isinstance(condition, kind) else [condition]
