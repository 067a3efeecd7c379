"""The SQL of the partitioned tables. The migration and the maintenance beat run it.

Partitions are ranges of ids, which are ranges of time, with equal bounds for every table.
They leave no gap: the first takes everything older than its end, and the last ends well
ahead of now. There is no default partition, because every query would read it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import connection, transaction

from inferences.models.row_ids import first_id_at, moment_of
from inferences.store.vacuum_settings import OF_PARTITIONS, clause
from istore.db.advisory_lock import AdvisoryLock

# The indexes of the partition that is being written should stay in memory: they take about
# 1 KB a row.
ROWS_IN_PARTITION = 2_000_000
# The next partition is as long as ROWS_IN_PARTITION rows take at the present rate, within
# these; USUAL is for a store whose rate is not known yet.
SHORTEST, USUAL, LONGEST = timedelta(days=7), timedelta(days=31), timedelta(days=92)
AHEAD = timedelta(days=60)
CHANGES_LOCK = AdvisoryLock("inferences.store.partitions")


@dataclass(frozen=True, slots=True)
class Table:
    """A partitioned table: its primary key, if it has one, and its further indexes."""

    name: str
    key: str = ""
    indexes: tuple[tuple[str, str], ...] = ()


def _slots() -> list[tuple[str, str]]:
    # Read by metadata filters. Partial, so that a soft-deleted row leaves all of them.
    # Eight for each type, as in models.SLOTS, but written out here: a migration that ran
    # must not change with the code.
    return [
        (
            f"inference_by_{kind}_{number}",
            f"(model_key, {kind}_{number}, id) "
            f"WHERE NOT deleted AND {kind}_{number} IS NOT NULL",
        )
        for kind in ("string", "integer", "float")
        for number in range(1, 9)
    ]


TABLES = [
    Table(
        "inferences_inference",
        "model_key, id",
        (
            *_slots(),
            # Read by the source filter, the hash filter, and circle and rectangle.
            ("inference_by_source", "(model_key, source_id, id) WHERE NOT deleted"),
            ("inference_by_hash", "(model_key, data_hash) WHERE NOT deleted"),
            (
                "inference_by_area",
                "(model_key, area_cell, id) INCLUDE (latitude, longitude) "
                "WHERE NOT deleted AND area_cell IS NOT NULL",
            ),
            # Read by a score filter that names no label.
            (
                "inference_by_score",
                "(model_key, top_score, id) "
                "WHERE NOT deleted AND top_score IS NOT NULL",
            ),
        ),
    ),
    Table(
        "inferences_inferencepayload",
        "model_key, id",
        (
            # The open intents, read by ``removal.RECORDS.finish``: the work that an interrupted
            # removal has left.
            (
                "payload_input_removal",
                "(model_key, id) WHERE input_removal_at IS NOT NULL",
            ),
            ("payload_removal", "(model_key, id) WHERE removal_at IS NOT NULL"),
        ),
    ),
    Table(
        "inferences_detection",
        "",
        (
            # Read by the label filter, and by the removal of a range of ids.
            ("detection_by_label", "(model_key, label_id, id) INCLUDE (score)"),
            ("detection_by_range", "USING brin (id) WITH (pages_per_range = 32)"),
        ),
    ),
    Table(
        "inferences_overflowtext",
        "",
        (
            ("overflow_text_by_value", "(model_key, key_id, value, id)"),
            ("overflow_text_by_row", "(model_key, id, key_id)"),
        ),
    ),
    Table(
        "inferences_overflownumber",
        "",
        (
            ("overflow_number_by_value", "(model_key, key_id, value, id)"),
            ("overflow_number_by_row", "(model_key, id, key_id) INCLUDE (value)"),
        ),
    ),
    Table(
        "inferences_classprobability",
        "",
        (
            # Read by the class filter. Score comes before id: a distribution names every
            # class, so without a bound on the score nearly all records match.
            ("class_by_probability", "(model_key, label_id, score, id)"),
            # Read by removals. The classes of one record share an index entry
            # (deduplication), so the index is small.
            ("class_by_row", "(model_key, id)"),
        ),
    ),
    Table(
        "inferences_inferencetext",
        "model_key, id, side, part",
        (
            # Read by the filters of texts. The model stands before the words, so that what is
            # common in other models costs nothing. Few entries wait in the pending list, which
            # every search reads through.
            (
                "text_by_word",
                "USING gin ((ARRAY[model_key]), words) "
                "WITH (gin_pending_list_limit = 1024)",
            ),
        ),
    ),
]


def partitioned(table: Table) -> list[str]:
    """Return the statements that replace a table of Django's by a partitioned one.

    The columns stay the same. The primary key is one that partitions by id allow.
    """
    key = f", PRIMARY KEY ({table.key})" if table.key else ""
    return [
        f"ALTER TABLE {table.name} RENAME TO shape",
        f"CREATE TABLE {table.name} (LIKE shape INCLUDING DEFAULTS{key}) "
        "PARTITION BY RANGE (id)",
        "DROP TABLE shape",
        *[
            f"CREATE INDEX {name} ON {table.name} {what}"
            for name, what in table.indexes
        ],
    ]


def add_partition(
    start: datetime | None, end: datetime, tables: Sequence[Table] = TABLES
) -> list[str]:
    """Return the statements that add one more range to every table.

    Without a start the range takes everything older than the end. The partition is created
    first and attached then, so that readers and writers of the table can go on.
    """
    lower = None if start is None else first_id_at(start)
    name = "past" if start is None else f"{start:%Y%m%d}"
    return add_range(lower, first_id_at(end), name, tables)


def add_range(
    lower: int | None, upper: int, name: str, tables: Sequence[Table] = TABLES
) -> list[str]:
    """Return the statements that give every table a partition for the ids lower ≤ id < upper."""
    begin = "MINVALUE" if lower is None else lower
    statements = []
    for table in tables:
        partition = f"{table.name}_{name}"
        statements += [
            f"CREATE TABLE {partition} (LIKE {table.name} INCLUDING ALL) "
            f"WITH ({clause(OF_PARTITIONS)})",
            f"ALTER TABLE {table.name} ATTACH PARTITION {partition} "
            f"FOR VALUES FROM ({begin}) TO ({upper})",
        ]
    return statements


def upper_bound() -> datetime | None:
    """Return the end of the last partition: later inferences cannot be stored."""
    bounds = [upper for _, upper in _ranges()]
    return moment_of(max(bounds)) if bounds else None


def make_ahead(now: datetime, tables: Sequence[Table] = TABLES) -> list[datetime]:
    """Create the partitions that are missing up to 60 days ahead, and return their starts.

    ``tables`` are those that exist: a migration may not have all of today's tables.
    """
    made = []
    with transaction.atomic(), connection.cursor() as cursor:
        # Fail rather than wait long for a lock: beat tries again.
        cursor.execute(f"SET LOCAL lock_timeout = '{settings.ISTORE_LOCK_SECONDS}s'")
        # Beat may run twice, or beside the command: the second finds the work done.
        CHANGES_LOCK.wait_until_commit()
        end = upper_bound()
        if end is None:
            end = now.astimezone(UTC).replace(
                day=1, hour=0, minute=0, second=0, microsecond=0
            )
            for statement in add_partition(None, end, tables):
                cursor.execute(statement)
        length = _length(now)
        while end < now + AHEAD:
            start, end = end, end + length
            for statement in add_partition(start, end, tables):
                cursor.execute(statement)
            made.append(start)
    return made


def _length(now: datetime) -> timedelta:
    """Return how long the next partition should be, by the growth of the one in use."""
    present = first_id_at(now)
    for (lower, upper), rows in _ranges().items():
        if lower is not None and lower <= present < upper:
            age = max(now - moment_of(lower), timedelta(days=1))
            if rows > 0:
                wanted = age * (ROWS_IN_PARTITION / rows)
                return timedelta(days=min(max(wanted, SHORTEST), LONGEST).days)
    return USUAL


def _ranges() -> dict[tuple[int | None, int], float]:
    """Return the bounds of the inference partitions, with the planner's estimate of their rows."""
    name = TABLES[0].name
    counts = _read("c.reltuples", name)
    return {bounds: counts[part] for part, bounds in partitions_of(name).items()}


def partitions_of(table: str) -> dict[str, tuple[int | None, int]]:
    """Return the partitions of a table by name, each with its bounds."""
    found = {}
    for name, expression in _read("pg_get_expr(c.relpartbound, c.oid)", table).items():
        lower, upper = re.findall(r"\('?(MINVALUE|-?[0-9]+)'?\)", expression)
        found[name] = None if lower == "MINVALUE" else int(lower), int(upper)
    return found


def _read(what: str, table: str) -> dict[str, Any]:
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT c.relname, {what} "
            "FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid "
            "WHERE i.inhparent = to_regclass(%s)",
            [table],
        )
        return dict(cursor.fetchall())
