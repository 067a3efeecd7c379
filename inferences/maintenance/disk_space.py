"""Return disk space that removals freed to the file system.

A vacuum frees the space of removed rows for new rows of the same partition. An old partition
gets none except late ones, and indexes never shrink. So a partition with no rows of any model
is truncated, or, with adjacent empty ones, replaced by one partition over their whole range.
The range must stay covered, because a late inference may still need it. So there are no gaps,
and never many partitions at the old end.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby

from django.conf import settings
from django.db import (
    DatabaseError,
    OperationalError,
    ProgrammingError,
    connection,
    transaction,
)

from inferences.models.row_ids import first_id_at, moment_of
from inferences.store import partitions
from istore.db.statement_timeout import statement_timeout
from istore.log_values import describe

logger = logging.getLogger(__name__)

SETTLED = timedelta(days=1)  # a partition must have ended so long ago
LOCKED_SECONDS = 0.25  # the longest that readers and writers wait for our lock
LOOKED_SECONDS = 2.0  # timeout of the check that partitions are empty, without a lock
PATIENCE, PAUSE = 60.0, 1.0  # seconds of retries, and between two of them


@dataclass(frozen=True, slots=True)
class Range:
    """The partitions of one range of row ids, one for each table."""

    lower: int | None
    upper: int
    names: tuple[str, ...]


def vacuum(lower: int, upper: int) -> list[str]:
    """Free the space of removed rows between these ids; return the names of the partitions.

    Without it the first index-only count after a large removal takes thirty times as long. It
    does nothing within a transaction, where VACUUM is not allowed.
    """
    if connection.in_atomic_block:
        return []
    done = []
    for table in partitions.TABLES:
        for name, (start, end) in partitions.partitions_of(table.name).items():
            if (start is None or start <= upper) and lower < end:
                with connection.cursor() as cursor:
                    cursor.execute(f"VACUUM (SKIP_LOCKED) {name}")
                done.append(name)
    return done


def give_back(now: datetime, *, patience: float = PATIENCE) -> int:
    """Truncate and join old empty partitions; return the bytes that were freed.

    Partitions that are locked, or take long to check, are left for the next run.
    """
    given = 0
    for empty in list(_empty_runs(now)):
        try:
            size = _size(empty)
            if len(empty) > 1 or size >= settings.ISTORE_EMPTY_PARTITION_BYTES:
                given += size if _replace_patiently(empty, patience) else 0
        except ProgrammingError:  # another worker has dropped them
            logger.info("Empty partitions were replaced meanwhile.")
    return given


def _empty_runs(now: datetime) -> Iterator[list[Range]]:
    """Yield runs of adjacent old ranges without rows, the oldest first."""
    end = first_id_at(now - SETTLED)
    for is_empty, run in groupby(
        _ranges(), lambda each: each.upper <= end and _is_empty([each])
    ):
        if is_empty:
            yield list(run)


def _ranges() -> list[Range]:
    """Return all ranges in the order of time."""
    names: dict[tuple[int | None, int], list[str]] = {}
    for table in partitions.TABLES:
        for name, bounds in partitions.partitions_of(table.name).items():
            names.setdefault(bounds, []).append(name)
    found = [Range(*bounds, tuple(those)) for bounds, those in names.items()]
    return sorted(found, key=lambda each: each.upper)


def _names(ranges: Iterable[Range]) -> list[str]:
    return [name for each in ranges for name in each.names]


def _is_empty(ranges: Iterable[Range], seconds: float = LOOKED_SECONDS) -> bool:
    """Return whether the partitions have no rows; False if the check times out."""
    there = " OR ".join(f"EXISTS (SELECT FROM {name})" for name in _names(ranges))
    try:
        with statement_timeout(seconds), connection.cursor() as cursor:
            cursor.execute(f"SELECT {there}")
            return not cursor.fetchone()[0]
    except DatabaseError:
        return False


def _size(ranges: Iterable[Range]) -> int:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT sum(pg_total_relation_size(name::regclass))::bigint "
            "FROM unnest(%s::text[]) AS name",
            [_names(ranges)],
        )
        size: int = cursor.fetchone()[0]
    return size


def _replace_patiently(empty: list[Range], patience: float) -> bool:
    """Replace the partitions, with retries while they are locked; return whether it was done."""
    begun = time.monotonic()
    while True:
        why = "They are being vacuumed."
        if not _are_being_vacuumed(empty):
            try:
                return _replace(empty)
            except OperationalError as error:  # lock timeout
                why = describe(error)
        if time.monotonic() - begun > patience:
            logger.info("Empty partitions stay for now: %s", why)
            return False
        time.sleep(PAUSE)


def _are_being_vacuumed(ranges: Iterable[Range]) -> bool:
    """Return whether a vacuum runs on the partitions.

    An autovacuum yields its lock only after a second; nobody should wait that long behind our
    request.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT EXISTS (SELECT FROM pg_locks "
            "WHERE relation = ANY(%s::regclass[]) AND mode = 'ShareUpdateExclusiveLock')",
            [_names(ranges)],
        )
        return bool(cursor.fetchone()[0])


def _replace(empty: list[Range]) -> bool:
    """Replace the partitions by one empty range. Return False if a late inference has arrived.

    Raises ``OperationalError`` if a lock cannot be had within ``LOCKED_SECONDS``, and
    ``ProgrammingError`` if the partitions no longer exist.
    """
    names = ", ".join(_names(empty))
    with transaction.atomic(), connection.cursor() as cursor:
        partitions.CHANGES_LOCK.wait_until_commit()
        cursor.execute(f"SET LOCAL lock_timeout = '{LOCKED_SECONDS}s'")
        if len(empty) > 1:  # adding and dropping a partition lock its parent table
            tables = ", ".join(table.name for table in partitions.TABLES)
            cursor.execute(f"LOCK TABLE ONLY {tables} IN ACCESS EXCLUSIVE MODE")
        cursor.execute(f"LOCK TABLE {names} IN ACCESS EXCLUSIVE MODE")
        if not _is_empty(empty, LOCKED_SECONDS):
            return False
        if len(empty) == 1:
            cursor.execute(f"TRUNCATE {names}")
            return True
        cursor.execute(f"DROP TABLE {names}")
        lower, upper = empty[0].lower, empty[-1].upper
        name = f"until_{moment_of(upper):%Y%m%d}"
        for statement in partitions.add_range(lower, upper, name):
            cursor.execute(statement)
        return True
