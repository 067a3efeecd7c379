"""Queries: which inferences, by which distance, which page, in which order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, SerializeAsAny

from inference_store.models.base import RequestModel, plain_list
from inference_store.models.enums import (
    EmbeddingDistanceMetric,
    PaginationEmbeddingSortField,
    PaginationGranularInferenceSortField,
    PaginationSortDirection,
    PaginationSortField,
)
from inference_store.models.filters import BaseInferenceFilter
from inference_store.models.trees import Condition, Tree


class EmbeddingFilter(RequestModel):
    """Measures the distance to ``query_embedding``; results come nearest first."""

    query_embedding: Annotated[list[float], BeforeValidator(plain_list)]
    distance_metric: str | None = EmbeddingDistanceMetric.COSINE


class SimilarTo(EmbeddingFilter):
    """Measures the distance to the embedding of an inference of the same model."""

    query_embedding: list[float] | None = None  # type: ignore[assignment]  # may be None here
    similar_to: str


class NearText(EmbeddingFilter):
    """Measures the distance to a text, embedded by the service that the model names."""

    query_embedding: list[float] | None = None  # type: ignore[assignment]  # may be None here
    text: str


class Pagination(RequestModel):
    """Which page to return, and in which order.

    ``cursor`` is the ``next`` of the page before. Unlike ``offset`` it stays fast at any
    depth.
    """

    direction: PaginationSortDirection | None = None
    limit: int | None = None
    offset: int | None = None
    sort: (
        PaginationSortField
        | PaginationEmbeddingSortField
        | PaginationGranularInferenceSortField
        | None
    ) = None
    cursor: str | None = None


class Question(RequestModel):
    """Which inferences a request selects; all conditions that are given must hold.

    ``filter`` is a tree of AND, OR and NOT; ``query`` is a text query such as
    ``label:ship score<0.4``. Both apply in addition to ``filters``.
    """

    filter: Tree | None = None
    query: str | None = None


class NewGetInferencesRequest(Question):
    """Which inferences to return, which page, and with which fields.

    ``fields`` names the fields to read from answers and inputs: ``detections``,
    ``probabilities``, ``entities``, ``prediction``, ``prompt``, ``response``. Fields that are
    not named are None.
    """

    filters: BaseInferenceFilter = Field(default_factory=BaseInferenceFilter)
    embedding_filters: SerializeAsAny[EmbeddingFilter] | None = None
    pagination: Pagination | None = None
    presign: bool = False
    fields: list[str] | None = None

    def with_fields(self, names: Sequence[str]) -> NewGetInferencesRequest:
        """Return the request with these fields added."""
        if not names:
            return self
        wanted = list(dict.fromkeys([*(self.fields or ()), *names]))
        return self.model_copy(update={"fields": wanted})

    def with_page(self, **changes: Any) -> NewGetInferencesRequest:
        """Return the request with another page."""
        pagination = (self.pagination or Pagination()).model_copy(update=changes)
        return self.model_copy(update={"pagination": pagination})


def selection_body(
    filters: BaseInferenceFilter,
    tree: Condition | None,
    query: str | None,
    excluded: Sequence[str] = (),
) -> dict[str, Any]:
    """Return the part of a request body that selects inferences; all conditions must hold.

    ``excluded`` ids are left out of what matches.
    """
    given = {"filters": filters, "filter": tree}
    written: dict[str, Any] = {
        name: condition.model_dump(mode="json", exclude_none=True)
        for name, condition in given.items()
        if condition is not None
    }
    if excluded:
        written["exclude_inference_ids"] = list(excluded)
    return written if query is None else written | {"query": query}
