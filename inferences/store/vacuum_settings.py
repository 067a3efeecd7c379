"""Autovacuum's settings of the tables of inferences: how often each is visited.

Partitions get theirs when they are made (``partitions``); the migration 0035 gave them to those
that were there. The other tables get them as those of all apps do (``istore.db.vacuum_settings``).
"""

from __future__ import annotations

from istore.db.vacuum_settings import Settings, by_queue, by_share, clause, for_updates

__all__ = ["OF_PARTITIONS", "OF_TABLES", "clause"]

# Appended to, and removed from by the batch. A vacuum after 2 % of new rows keeps counts that read
# an index alone fast, and statistics must follow a partition that grows. Their updates change
# indexed columns or the predicate of a partial index, so free room in pages would save nothing.
OF_PARTITIONS = by_share(dead=0.02)

OF_TABLES: dict[str, Settings] = {
    # As large as all partitions together: a row for each inference, which is read by its key and
    # in the order of arrival. Stored reservations and removals leave dead rows.
    "inferences_inferencekey": by_share(dead=0.02),
    # Dead rows are dear here: a vacuum reads each vector index as a whole.
    "inferences_embedding": by_share(dead=0.1, inserted=0.05, analyze=0.05),
    # All vectors pass through, at most some ten thousand a model stay.
    "inferences_recentembedding": by_queue(10_000),
    # Written anew as a whole by each layout.
    "inferences_mappoint": by_share(dead=0.1, analyze=0.1),
    # Appended to, as people and files annotate.
    "inferences_metadatachange": by_share(dead=0.05),
    "inferences_groundtruthversion": by_share(dead=0.05),
    # A better value replaces the former in its page, as only the key is indexed.
    "inferences_groundtruth": {"fillfactor": "90", **by_share(dead=0.05)},
    # Deltas of every batch, which beat sums up each hour.
    "inferences_metadatakeycount": by_queue(5_000),
    # Touches that live until the next build.
    "inferences_segmenttouch": by_queue(1_000),
    # Wide rows, each written anew when its segment is built.
    "inferences_segment": {"fillfactor": "70", **by_share(dead=0.05)},
    # Few wide rows, deleted and made again when one of their segments is.
    "inferences_segmentgroup": by_queue(200),
    # Values that wait for days, then go by the batch. The list of pending entries of their index
    # is merged by a vacuum.
    "inferences_pendingtruth": by_share(dead=0.05),
    # Few rows, which every batch locks, and keys, watermarks and settings change.
    "inferences_registeredmodel": for_updates(50),
    # Granted, bound and deleted within hours.
    "inferences_uploadgrant": for_updates(80, rows=1_000),
    # Few rows, whose lease is prolonged every few seconds.
    **{
        f"inferences_{task}": for_updates(50)
        for task in ("erasuretask", "maptask", "textindextask", "truthfile")
    },
}
