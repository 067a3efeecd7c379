"""Embeddings: how far an inference's vector is from another, and which are nearest.

New vectors lie in ``RecentEmbedding``, which has no vector index and is scanned exactly,
and move to ``Embedding`` in the background (``moving``); a model with many of them gets
an index there (``indexing``). ``nearest`` searches both.
"""

from inferences.search.vectors.embedding_filter import (
    METRICS,
    BadEmbedding,
    EmbeddingFilter,
)

__all__ = ["METRICS", "BadEmbedding", "EmbeddingFilter"]
