"""Which tables could be spread over nodes by their model, and which each node has a copy of.

A database that spreads tables, such as Citus, puts all rows of one model on one node. For that the
tables of data have the column ``model_key`` in every unique key, and each statement about them is
about one model. A test reads the catalogue and the statements that the store sends, and fails on a
breach (``tests/test_spread_over_nodes.py``); ``docs/scale.md`` shows the calls.

Tables in neither list stay where the store connects to: people, tokens, tasks, schedules, datasets,
the audit log.
"""

from __future__ import annotations

from inferences.store.side_tables import side_tables

COLUMN = "model_key"

# The first one is distributed by the column, all others beside it.
_OWN = (
    "inferences_inference",
    "inferences_inferencepayload",
    "inferences_inferencekey",
    "inferences_detection",
    "inferences_classprobability",
    "inferences_overflowtext",
    "inferences_overflownumber",
    "inferences_inferencetext",
    "inferences_embedding",
    "inferences_recentembedding",
    "inferences_mappoint",
    "inferences_metadatachange",
    "inferences_metadatakeycount",
    "inferences_groundtruth",
    "inferences_groundtruthversion",
    "inferences_pendingtruth",
    "inferences_segment",
    "inferences_segmentgroup",
    "inferences_segmenttouch",
)

# Small, read far more often than written, and named by rows or statements of data. In this order,
# because they name each other.
REFERENCE = {
    "istore_project": "Named by models.",
    "inferences_registeredmodel": "Named by every table of data, and locked by each batch.",
    "inferences_metadatakey": "Says which column holds a key; some dozens a model.",
    "inferences_labelname": "The numbers of labels in rows; as many as a model has classes.",
    "inferences_sourcename": "The numbers of sources in rows; some a model.",
}

# They have the column, and are read by themselves.
OF_PAGES = {
    "inferences_mapbasis": "One row a map. Statements get its numbers as values.",
    "inferences_savedview": "Shown on pages.",
    "inferences_pinnedmodel": "Belongs to a person.",
}


def distributed_tables() -> tuple[str, ...]:
    """Return the tables of data, those of other apps as well."""
    return (*_OWN, *(side.table for side in side_tables.values()))
