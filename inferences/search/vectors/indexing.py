"""One HNSW index for each model with many vectors, built while readers and writers go on.

It is over the normalised vectors in two-byte floats (halfvec), by cosine distance. For the
other metrics its candidates are sorted again. A search must repeat the index's expression and
the literal model key, otherwise PostgreSQL does not use the index.

A build takes no more memory than ``ISTORE_VECTOR_INDEX_BYTES``. While it goes on, ``builds``
and the log tell how far it is.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Event, Thread
from typing import Any

from django.conf import settings
from django.db import DatabaseError, OperationalError, connection

from inferences.models import Embedding, RegisteredModel
from istore.db.advisory_lock import AdvisoryLock
from istore.db.other_servers import own_session

TABLE = Embedding._meta.db_table
INDEX_FROM = 20_000  # vectors; up to here a search measures them one by one
LARGEST = 4_000  # numbers in a vector; a halfvec index takes no more
OPTIONS = "m = 16, ef_construction = 128"  # of pgvector; the defaults are 16 and 64
MIB = 1024**2
MEMORY_LEAST = 64 * MIB
LOG_SECONDS = 60.0  # between log lines on the progress of a build
NO_SHARED_MEMORY = "53100"  # disk_full: raised when /dev/shm is too small

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Build:
    """An index build that goes on: PostgreSQL's word for its phase, and its percent if known."""

    model_key: int
    phase: str
    percent: float | None

    def __str__(self) -> str:
        share = "" if self.percent is None else f", {self.percent:.0f} %"
        return f"{self.phase}{share}"


def index_name(model: RegisteredModel) -> str:
    """Return the name of the model's index."""
    return _name(model.pk)


def index_expression(model: RegisteredModel, column: str) -> str:
    """Return the indexed expression; a search must repeat it for the index to be used."""
    return f"(l2_normalize({column})::halfvec({model.embedding_size}))"


def indexed_vectors(model: RegisteredModel) -> int:
    """Return about how many vectors the model's index holds; 0 without a valid index."""
    with connection.cursor() as cursor:
        cursor.execute(STATE, [index_name(model)])
        found = cursor.fetchone()
    return max(1, int(found[1])) if found and found[0] else 0


def is_indexed(model: RegisteredModel) -> bool:
    """Return whether the model has a valid index that a search can use."""
    return indexed_vectors(model) > 0


def index(model: RegisteredModel) -> bool:
    """Build the model's index if it has enough vectors; return whether one was built.

    It must not be called in a transaction. Readers and writers are not blocked. An invalid
    index that an interrupted build left behind is dropped first. If shared memory is too
    small, the index is built without parallel workers.
    """
    if not 0 < model.embedding_size <= LARGEST:
        return False
    with _lock(model).try_hold() as is_ours:
        if not is_ours or is_indexed(model):
            return False
        vectors = count(model)
        if vectors <= INDEX_FROM:
            return False
        _drop(model)
        with _logging_progress(model, vectors):
            try:
                _build(model, vectors)
            except OperationalError as error:
                if getattr(error.__cause__, "sqlstate", None) != NO_SHARED_MEMORY:
                    raise
                _drop(model)
                _build(model, vectors, workers=0)
    return True


def list_builds() -> list[Build]:
    """Return the index builds that go on now."""
    return [
        Build(key, phase, None if percent is None else float(percent))
        for key, phase, percent in _of_all(PROGRESS)
    ]


def count_by_model() -> dict[int, int]:
    """Return about how many vectors each valid index holds, by the number of its model."""
    return {key: max(0, int(vectors)) for key, vectors in _of_all(SIZES)}


def drop(model: RegisteredModel) -> None:
    """Drop the index, so that searches are exact. It must not be called in a transaction."""
    with _lock(model).try_hold() as is_ours:
        if is_ours:
            _drop(model)


def count(model: RegisteredModel) -> int:
    """Return how many vectors of the model are in the indexed table."""
    return Embedding.objects.beside(model).count()


def memory_for(model: RegisteredModel, vectors: int) -> int:
    """Return the bytes that one build may take: those of the whole graph, within bounds."""
    # Two bytes for each number and some 450 besides for each vector, plus a fifth.
    wanted = int(vectors * (2 * model.embedding_size + 450) * 1.2)
    bound = max(MEMORY_LEAST, settings.ISTORE_VECTOR_INDEX_BYTES)
    if wanted > bound:
        log.warning(
            "vector index: the graph of %s takes %s MB and may have %s: what does not fit is "
            "built slowly; see ISTORE_VECTOR_INDEX_BYTES",
            *(model.full_name, wanted // MIB, bound // MIB),
        )
    return max(MEMORY_LEAST, min(wanted, bound))


def _state(model: RegisteredModel) -> bool | None:
    """Return whether the index is valid, or None if there is none."""
    with connection.cursor() as cursor:
        cursor.execute(STATE, [index_name(model)])
        found = cursor.fetchone()
    return None if found is None else bool(found[0])


@contextmanager
def _logging_progress(model: RegisteredModel, vectors: int) -> Iterator[None]:
    """Log the begin and the end of a build, and its progress by a thread meanwhile."""
    begun, done = time.monotonic(), Event()
    name = model.full_name
    log.info("vector index: building over %s vectors of %s", vectors, name)

    def log_progress() -> None:
        while not done.wait(LOG_SECONDS):
            try:
                here = [each for each in list_builds() if each.model_key == model.pk]
            except DatabaseError:  # the build itself raises it
                here = []
            finally:
                connection.close()
            for each in here:
                log.info("vector index: %s of %s", each, name)

    reporter = Thread(target=log_progress, daemon=True)
    reporter.start()
    try:
        yield
    finally:
        done.set()
        reporter.join()
    log.info("vector index: built for %s in %.0f s", name, time.monotonic() - begun)


def _build(model: RegisteredModel, vectors: int, workers: int | None = None) -> None:
    memory = memory_for(model, vectors) // MIB
    with own_session(), connection.cursor() as cursor:
        # SET, not SET LOCAL: CREATE INDEX CONCURRENTLY is not allowed in a transaction.
        cursor.execute(f"SET maintenance_work_mem = '{memory}MB'")
        if workers is not None:
            cursor.execute(f"SET max_parallel_maintenance_workers = {workers}")
        try:
            cursor.execute(
                f"CREATE INDEX CONCURRENTLY {index_name(model)} ON {TABLE} USING hnsw "
                f"({index_expression(model, 'vector')} halfvec_cosine_ops) "
                f"WITH ({OPTIONS}) WHERE model_key = {model.pk}"
            )
        finally:
            cursor.execute("RESET maintenance_work_mem")
            cursor.execute("RESET max_parallel_maintenance_workers")


def _drop(model: RegisteredModel) -> None:
    if _state(model) is not None:
        with connection.cursor() as cursor:
            cursor.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {index_name(model)}")


def _lock(model: RegisteredModel) -> AdvisoryLock:
    """Return the lock of this index.

    Without the lock an unfinished build of another process would look like an invalid index.
    """
    return AdvisoryLock(f"inferences.search.vectors.{model.pk}")


def _of_all(statement: str) -> list[tuple[Any, ...]]:
    """Run a statement over the indexes of all models."""
    prefix = _name("")
    with connection.cursor() as cursor:
        cursor.execute(statement, [len(prefix) + 1, f"^{prefix}[0-9]+$"])
        found: list[tuple[Any, ...]] = cursor.fetchall()
    return found


def _name(model_key: int | str) -> str:
    return f"embedding_of_model_{model_key}"


STATE = """
SELECT indisvalid, reltuples FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid
WHERE indexrelid = to_regclass(%s)
"""
SIZES = """
SELECT substr(relname, %s)::integer, reltuples
FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid
WHERE indisvalid AND relname ~ %s
"""
# Blocks are counted in the phases that read the table, which take nearly all of the time.
PROGRESS = """
SELECT substr(relname, %s)::integer, phase,
       100.0 * blocks_done / nullif(blocks_total, 0)
FROM pg_stat_progress_create_index JOIN pg_class ON pg_class.oid = index_relid
WHERE relname ~ %s
ORDER BY 1
"""
