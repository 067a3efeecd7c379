"""Compact count deltas and delete expired tombstones, one model after the other."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.conf import settings
from django.db import connection

from inferences.models import InferenceKey, MetadataKeyCount, RegisteredModel

AT_ONCE = 10_000  # tombstones of one statement

# One statement, so a reader sees either the deltas or their sum. Two compactions at the
# same time each sum the rows that they deleted.
COMPACT = f"""
WITH gone AS (
    DELETE FROM {MetadataKeyCount._meta.db_table}
    WHERE model_key = %(model)s AND (key, type) IN (
        SELECT key, type FROM {MetadataKeyCount._meta.db_table}
        WHERE model_key = %(model)s GROUP BY key, type HAVING count(*) > 1)
    RETURNING key, type, delta
)
INSERT INTO {MetadataKeyCount._meta.db_table} (model_key, key, type, delta)
SELECT %(model)s, key, type, sum(delta) FROM gone
GROUP BY key, type HAVING sum(delta) <> 0
"""
# Served by tombstone_by_model_and_age. A key that another transaction has locked waits for the
# next run.
FREE = f"""
DELETE FROM {InferenceKey._meta.db_table}
WHERE model_key = %(model)s AND inference_id IN (
    SELECT inference_id FROM {InferenceKey._meta.db_table}
    WHERE model_key = %(model)s AND removed_at < %(limit)s
    LIMIT {AT_ONCE} FOR UPDATE SKIP LOCKED)
"""


def compact_counts() -> int:
    """Replace the deltas of each key by their sum; return how many sums were written."""
    written = 0
    for model_key in _models():
        with connection.cursor() as cursor:
            cursor.execute(COMPACT, {"model": model_key})
            written += cursor.rowcount
    return written


def free_tombstones(at: datetime) -> int:
    """Delete tombstones older than ``ISTORE_TOMBSTONE_DAYS``, so their ids can be used again.

    Until then a late copy of an event is recognised by the tombstone; no stream, spool or
    reconciliation keeps a copy for as long. Returns how many were deleted.
    """
    limit = at - timedelta(days=settings.ISTORE_TOMBSTONE_DAYS)
    return sum(_free_tombstones(model_key, limit) for model_key in _models())


def _free_tombstones(model_key: int, limit: datetime) -> int:
    freed = 0
    while True:
        with connection.cursor() as cursor:
            cursor.execute(FREE, {"model": model_key, "limit": limit})
            count: int = cursor.rowcount
        freed += count
        if count < AT_ONCE:
            return freed


def _models() -> list[int]:
    return list(RegisteredModel.objects.order_by("pk").values_list("pk", flat=True))
