"""The vector that a search measures distances from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from inferences.models import (
    Embedding,
    InferenceKey,
    RecentEmbedding,
    RegisteredModel,
)
from inferences.real_numbers import fits
from inferences.search.vectors import text_embedding

METRICS = ("cosine", "l2", "negative_dot_product")
# Norms whose squares neither underflow to zero nor overflow in four-byte floats.
MEASURABLE = (1e-15, 1e15)
Metric = Literal["cosine", "l2", "negative_dot_product"]


class BadEmbedding(ValueError):
    """A vector that the model's embeddings cannot be compared with.

    ``field`` names the field of the request at fault.
    """

    def __init__(self, message: str, field: str) -> None:
        super().__init__(message)
        self.field = field


@dataclass(frozen=True, slots=True)
class EmbeddingFilter:
    """A vector to measure distances from: given, of an inference (``similar_to``), or of a text.

    It leaves no inference out. ``cosine`` is 1 - cosine similarity, ``negative_dot_product``
    is -(a·b): nearer is always smaller.
    """

    query_embedding: Sequence[float] | None = None
    distance_metric: Metric = "cosine"
    similar_to: str | None = None
    text: str | None = None

    def __post_init__(self) -> None:
        origins = (self.query_embedding, self.similar_to, self.text)
        if sum(origin is not None for origin in origins) != 1:
            raise ValueError("One of query_embedding, similar_to and text.")
        if self.distance_metric not in METRICS:
            raise ValueError(f"distance_metric: one of {', '.join(METRICS)}.")
        if not all(map(fits, self.query_embedding or ())):
            message = "query_embedding: finite numbers that four bytes hold."
            raise ValueError(message)

    def vector(self, model: RegisteredModel) -> np.ndarray:
        """Return the vector to measure from, as four-byte floats. Raises ``BadEmbedding``.

        For ``cosine`` a vector of zeros is refused, because it has no direction. A vector
        whose squared norm is outside of four-byte floats is normalised, because only its
        direction counts.
        """
        found = self._vector(model)
        if self.distance_metric != "cosine":
            return found
        norm = float(np.linalg.norm(found.astype(np.float64)))
        if norm == 0:
            message = (
                "A vector of zeros has no direction, and so no cosine distance; "
                "use l2 or negative_dot_product."
            )
            raise BadEmbedding(message, self._origin)
        if MEASURABLE[0] < norm < MEASURABLE[1]:
            return found
        return (found.astype(np.float64) / norm).astype(np.float32)

    def _vector(self, model: RegisteredModel) -> np.ndarray:
        if not model.embedding_size:
            message = "The model is registered without embeddings."
            raise BadEmbedding(message, self._origin)
        if self.similar_to is not None:
            return self._stored(model)
        given = self.query_embedding
        if self.text is not None:
            given = text_embedding.embed(model, self.text)
        if given is None:
            message = "No text embedding service is set for the model."
            raise BadEmbedding(message, "text")
        if len(given) != model.embedding_size:
            message = (
                f"The model's embeddings have {model.embedding_size} numbers, "
                f"not {len(given)}."
            )
            raise BadEmbedding(message, self._origin)
        if not all(map(fits, given)):
            message = "The vector has numbers that four bytes do not hold."
            raise BadEmbedding(message, self._origin)
        return np.asarray(given, np.float64).astype(np.float32)

    @property
    def _origin(self) -> str:
        origins = ("query_embedding", "similar_to", "text")
        return next(name for name in origins if getattr(self, name) is not None)

    def _stored(self, model: RegisteredModel) -> np.ndarray:
        keys = InferenceKey.objects.filter(registered_model=model, removed_at=None)
        row_ids = keys.filter(inference_id=self.similar_to)
        live = list(
            model.inferences.live()
            .filter(id__in=list(row_ids.values_list("row_id", flat=True)))
            .values_list("id", flat=True)
        )
        for table in (RecentEmbedding, Embedding):
            found = table.objects.beside(model).filter(id__in=live)
            for vector in found.values_list("vector", flat=True):
                return np.asarray(vector, np.float32)
        raise BadEmbedding(
            "There is no such inference with an embedding.", "similar_to"
        )
