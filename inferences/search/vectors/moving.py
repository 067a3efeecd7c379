"""Vectors on their way from the recent ones to those under an index.

A removal locks its inferences before it takes their vectors away (``removal``). Moving
takes the same locks and leaves alone what is hidden, so no vector arrives where the
removal has already looked.
"""

from __future__ import annotations

from django.db import connection, transaction

from inferences.models import Embedding, Inference, RecentEmbedding, RegisteredModel
from inferences.search.vectors import indexing

RECENT_MOST = 20_000  # of a model: what a search measures one by one
BATCH = 1_000
REBUILD_FROM = 0.5  # so many new ones for each indexed are cheaper as a new index

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
    """Move what is due and see to the index; returns how many vectors moved.

    Nothing moves until a model has more than 20,000 recent ones. Must not be called in
    a transaction.
    """
    waiting = RecentEmbedding.objects.beside(model).count()
    if waiting <= RECENT_MOST:
        indexing.index(model)
        return 0
    is_indexed = indexing.is_indexed(model)
    if is_indexed and waiting > REBUILD_FROM * indexing.count(model):
        indexing.drop(model)
        is_indexed = False
    # An index takes a millisecond for each, so it is given only what it has to take.
    moved = move(model, waiting - RECENT_MOST // 2 if is_indexed else waiting)
    indexing.index(model)
    return moved


def move(model: RegisteredModel, most: int) -> int:
    """Move the oldest recent vectors, about so many, in batches."""
    moved, after = 0, -(2**63)
    while moved < most:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(MOVE, {"model": model.pk, "after": after})
            arrived, last = cursor.fetchone()
        if last is None:
            break
        moved, after = moved + arrived, last
    return moved
