"""Read vectors of a model, normalised to length one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from django.db import connection

from inferences.models import Embedding, Inference, RecentEmbedding, RegisteredModel

TABLES = (Embedding._meta.db_table, RecentEmbedding._meta.db_table)
ROWS = Inference._meta.db_table
AT_ONCE = 2_000
VECTOR_HEAD = 4  # bytes before the numbers in pgvector's binary form: size, unused


def newest_vectors(model: RegisteredModel, most: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the row ids and vectors of the newest inferences that have one, the newest first.

    The vectors are a matrix of four-byte floats, one a row. Soft-deleted inferences are left out.
    """
    sides = " UNION ALL ".join(
        f"(SELECT id FROM {table} WHERE model_key = %(model)s ORDER BY id DESC LIMIT %(most)s)"
        for table in TABLES
    )
    sql = (
        f"SELECT side.id FROM ({sides}) AS side JOIN {ROWS} AS row "
        "ON row.model_key = %(model)s AND row.id = side.id AND NOT row.deleted "
        "ORDER BY 1 DESC LIMIT %(most)s"
    )
    with connection.cursor() as cursor:
        cursor.execute(sql, {"model": model.pk, "most": most})
        ids = [row_id for (row_id,) in cursor.fetchall()]
    return vectors_of(model, ids)


def vectors_of(
    model: RegisteredModel, ids: Sequence[int]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the ids that have a vector of the model's size, in their order, and the vectors."""
    found: dict[int, np.ndarray] = {}
    for first in range(0, len(ids), AT_ONCE):
        part = list(ids[first : first + AT_ONCE])
        for table in TABLES:
            found |= _read(table, model, part)
    kept = [row_id for row_id in ids if row_id in found]
    size = model.embedding_size
    vectors = np.empty((len(kept), size), np.float32)
    for place, row_id in enumerate(kept):
        vectors[place] = found[row_id]
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    np.divide(vectors, norms, out=vectors, where=norms > 0)
    return np.array(kept, np.int64), vectors


def _read(table: str, model: RegisteredModel, ids: list[int]) -> dict[int, np.ndarray]:
    sql = f"SELECT id, vector_send(vector) FROM {table} WHERE model_key = %s AND id = ANY(%s)"
    found = {}
    with connection.cursor() as cursor:
        cursor.execute(sql, [model.pk, ids])
        for row_id, sent in cursor.fetchall():
            numbers = np.frombuffer(sent, ">f4", offset=VECTOR_HEAD)
            if len(numbers) == model.embedding_size:
                found[row_id] = numbers
    return found
