"""How often autovacuum visits each table, and how full its pages are written.

PostgreSQL's defaults wait for a share of a table: a fifth of its rows dead or inserted, a tenth
changed. That is too much of a table with a hundred million rows, whose index-only scans read rows
until a vacuum has marked their pages as visible. It is also too seldom for a table of few rows that
are written all the time. Partitions get their settings when they are made (``partitions``); the
migration 0035 gave them to those that were there, and to the other tables.
"""

from __future__ import annotations

Settings = dict[str, str]


def _vacuum(
    *, dead: float, inserted: float | None = None, analyze: float | None = None
) -> Settings:
    """Return settings by shares of a table. Without ``inserted``, it is as ``dead``."""
    return {
        "autovacuum_vacuum_scale_factor": f"{dead:g}",
        "autovacuum_vacuum_insert_scale_factor": f"{dead if inserted is None else inserted:g}",
        "autovacuum_analyze_scale_factor": f"{dead if analyze is None else analyze:g}",
    }


def _queue(rows: int) -> Settings:
    """Return settings of a small table whose rows come and go: a visit after so many changes.

    Its visit is short, so it does not sleep between pages (``cost_delay``).
    """
    return {
        "autovacuum_vacuum_scale_factor": "0",
        "autovacuum_vacuum_threshold": str(rows),
        "autovacuum_analyze_scale_factor": "0",
        "autovacuum_analyze_threshold": str(rows),
        "autovacuum_vacuum_cost_delay": "0",
    }


def _updated(fillfactor: int, rows: int = 50) -> Settings:
    """Return settings of a small table whose rows are updated in place, within their page."""
    return {"fillfactor": str(fillfactor), **_queue(rows)}


# Appended to, and removed from by the batch. A vacuum after 2 % of new rows keeps counts that read
# an index alone fast, and statistics must follow a partition that grows. Their updates change
# indexed columns or the predicate of a partial index, so free room in pages would save nothing.
OF_PARTITIONS = _vacuum(dead=0.02)

OF_TABLES: dict[str, Settings] = {
    # As large as all partitions together: a row for each inference, which is read by its key and
    # in the order of arrival. Stored reservations and removals leave dead rows.
    "inferences_inferencekey": _vacuum(dead=0.02),
    # Dead rows are dear here: a vacuum reads each vector index as a whole.
    "inferences_embedding": _vacuum(dead=0.1, inserted=0.05, analyze=0.05),
    # All vectors pass through, at most some ten thousand a model stay.
    "inferences_recentembedding": _queue(10_000),
    # Written anew as a whole by each layout.
    "inferences_mappoint": _vacuum(dead=0.1, analyze=0.1),
    # Appended to, as people and files annotate.
    "inferences_metadatachange": _vacuum(dead=0.05),
    "inferences_groundtruthversion": _vacuum(dead=0.05),
    # A better value replaces the former in its page, as only the key is indexed.
    "inferences_groundtruth": {"fillfactor": "90", **_vacuum(dead=0.05)},
    # Deltas of every batch, which beat sums up each hour.
    "inferences_metadatakeycount": _queue(5_000),
    # Touches that live until the next build.
    "inferences_segmenttouch": _queue(1_000),
    # Wide rows, each written anew when its segment is built.
    "inferences_segment": {"fillfactor": "70", **_vacuum(dead=0.05)},
    # Few wide rows, deleted and made again when one of their segments is.
    "inferences_segmentgroup": _queue(200),
    # Values that wait for days, then go by the batch. The list of pending entries of their index
    # is merged by a vacuum.
    "inferences_pendingtruth": _vacuum(dead=0.05),
    # Few rows, which every batch locks, and keys, watermarks and settings change.
    "inferences_registeredmodel": _updated(50),
    # Granted, bound and deleted within hours.
    "inferences_uploadgrant": _updated(80, rows=1_000),
    # Few rows, whose lease is prolonged every few seconds.
    **{
        f"inferences_{task}": _updated(50)
        for task in ("erasuretask", "maptask", "textindextask", "truthfile")
    },
}


def clause(settings: Settings) -> str:
    """Return the settings as they stand in WITH (…) and SET (…)."""
    return ", ".join(f"{name} = {value}" for name, value in settings.items())
