"""What piles up beside the records is put in order: count deltas, and tombstones."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.conf import settings
from django.db import connection

from inferences.models import InferenceKey, MetadataKeyCount

AT_ONCE = 10_000

# One statement: a reader sees the deltas or their sum, and of two compactions at once
# each takes the rows that the other did not.
COMPACT = f"""
WITH gone AS (
    DELETE FROM {MetadataKeyCount._meta.db_table}
    WHERE (model_key, key, type) IN (
        SELECT model_key, key, type FROM {MetadataKeyCount._meta.db_table}
        GROUP BY model_key, key, type HAVING count(*) > 1)
    RETURNING model_key, key, type, delta
)
INSERT INTO {MetadataKeyCount._meta.db_table} (model_key, key, type, delta)
SELECT model_key, key, type, sum(delta) FROM gone
GROUP BY model_key, key, type HAVING sum(delta) <> 0
"""
FREE = f"""
DELETE FROM {InferenceKey._meta.db_table} WHERE (model_key, inference_id) IN (
    SELECT model_key, inference_id FROM {InferenceKey._meta.db_table}
    WHERE removed_at < %s LIMIT {AT_ONCE} FOR UPDATE SKIP LOCKED)
"""


def compact_counts() -> int:
    """How many sums came out of many deltas."""
    with connection.cursor() as cursor:
        cursor.execute(COMPACT)
        return cursor.rowcount


def free_tombstones(at: datetime) -> int:
    """Ids that were removed ``ISTORE_TOMBSTONE_DAYS`` ago may be given again.

    Until then a late copy is told by its tombstone; no stream, spool or reconcile
    keeps one for as long.
    """
    limit = at - timedelta(days=settings.ISTORE_TOMBSTONE_DAYS)
    freed = 0
    while True:
        with connection.cursor() as cursor:
            cursor.execute(FREE, [limit])
            freed += cursor.rowcount
            if cursor.rowcount < AT_ONCE:
                return freed
