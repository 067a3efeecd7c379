"""Embeddings: the distance between vectors, and the search for the nearest.

New vectors are in ``RecentEmbedding``, which has no vector index and is scanned exactly. They
move to ``Embedding`` in the background (``moving``), where a model with many of them gets an
index (``indexing``). ``nearest`` searches both tables.
"""

from inferences.search.vectors.embedding_filter import (
    METRICS,
    BadEmbedding,
    EmbeddingFilter,
)

__all__ = ["METRICS", "BadEmbedding", "EmbeddingFilter"]
