"""Move vectors from the recent table to the table that has an index.

A removal locks its inferences before it deletes their vectors (``store.removal``). Moving
takes the same locks and skips soft-deleted rows. So no vector moves to where a removal has
already looked.
"""

from __future__ import annotations

from django.db import connection, transaction

from inferences.models import Embedding, Inference, RecentEmbedding, RegisteredModel
from inferences.search.vectors import indexing

RECENT_MOST = 20_000  # vectors of a model that a search measures one by one
BATCH = 1_000
REBUILD_FROM = 0.5  # above this ratio of new to indexed, a new index is cheaper

# Rows are locked in id order, as removals lock them, so that the two cannot deadlock.
MOVE = f"""
WITH waiting AS MATERIALIZED (
    SELECT id FROM {RecentEmbedding._meta.db_table}
    WHERE model_key = %(model)s AND id > %(after)s ORDER BY id LIMIT {BATCH}
), held AS MATERIALIZED (
    SELECT id FROM {Inference._meta.db_table}
    WHERE model_key = %(model)s AND NOT deleted
      AND id = ANY(ARRAY(SELECT waiting.id FROM waiting))
    ORDER BY id FOR SHARE
), moved AS (
    DELETE FROM {RecentEmbedding._meta.db_table}
    WHERE model_key = %(model)s AND id = ANY(ARRAY(SELECT held.id FROM held))
    RETURNING id, model_key, vector
), arrived AS (
    INSERT INTO {Embedding._meta.db_table} (id, model_key, vector)
    SELECT id, model_key, vector FROM moved
)
SELECT count(*), (SELECT max(id) FROM waiting) FROM moved
"""


def tend(model: RegisteredModel) -> int:
    """Move the vectors that are due and make the index; return how many vectors moved.

    Nothing moves until a model has more than 20,000 recent ones. It must not be called in a
    transaction.
    """
    waiting = RecentEmbedding.objects.beside(model).count()
    if waiting <= RECENT_MOST:
        indexing.index(model)
        return 0
    is_indexed = indexing.is_indexed(model)
    if is_indexed and waiting > REBUILD_FROM * indexing.count(model):
        indexing.drop(model)
        is_indexed = False
    # An insert into the index takes a millisecond, so only as many move as must.
    moved = move(model, waiting - RECENT_MOST // 2 if is_indexed else waiting)
    indexing.index(model)
    return moved


def move(model: RegisteredModel, most: int) -> int:
    """Move the oldest recent vectors in batches, about ``most`` of them; return how many."""
    moved, after = 0, -(2**63)
    while moved < most:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(MOVE, {"model": model.pk, "after": after})
            arrived, last = cursor.fetchone()
        if last is None:
            break
        moved, after = moved + arrived, last
    return moved
