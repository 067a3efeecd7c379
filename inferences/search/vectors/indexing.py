"""One HNSW index for each model with many vectors, built while readers and writers go on.

It is over the normalised vectors in two-byte floats (halfvec), by cosine distance. For the
other metrics its candidates are sorted again. A search must repeat the index's expression and
the literal model key, otherwise PostgreSQL does not use the index.
"""

from __future__ import annotations

from django.db import OperationalError, connection

from inferences.models import Embedding, RegisteredModel
from istore.db.advisory_lock import AdvisoryLock

TABLE = Embedding._meta.db_table
INDEX_FROM = 20_000  # vectors; up to here a search measures them one by one
LARGEST = 4_000  # numbers in a vector; a halfvec index takes no more
OPTIONS = "m = 16, ef_construction = 128"  # of pgvector; the defaults are 16 and 64
MIB = 1024**2
MEMORY_LEAST, MEMORY_MOST = 64 * MIB, 2048 * MIB
NO_SHARED_MEMORY = "53100"  # disk_full: raised when /dev/shm is too small


def index_name(model: RegisteredModel) -> str:
    """Return the name of the model's index."""
    return f"embedding_of_model_{model.pk}"


def index_expression(model: RegisteredModel, column: str) -> str:
    """Return the indexed expression; a search must repeat it for the index to be used."""
    return f"(l2_normalize({column})::halfvec({model.embedding_size}))"


def is_indexed(model: RegisteredModel) -> bool:
    """Return whether the model has a valid index that a search can use."""
    return _state(model) is True


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
        try:
            _build(model, vectors)
        except OperationalError as error:
            if getattr(error.__cause__, "sqlstate", None) != NO_SHARED_MEMORY:
                raise
            _drop(model)
            _build(model, vectors, workers=0)
    return True


def drop(model: RegisteredModel) -> None:
    """Drop the index, so that searches are exact. It must not be called in a transaction."""
    with _lock(model).try_hold() as is_ours:
        if is_ours:
            _drop(model)


def count(model: RegisteredModel) -> int:
    """Return how many vectors of the model are in the indexed table."""
    return Embedding.objects.beside(model).count()


def memory_for(model: RegisteredModel, vectors: int) -> int:
    """Return the bytes that hold the whole graph, within the bounds of one build."""
    # Two bytes for each number and some 450 besides for each vector, plus a fifth.
    wanted = int(vectors * (2 * model.embedding_size + 450) * 1.2)
    return max(MEMORY_LEAST, min(wanted, MEMORY_MOST))


def _state(model: RegisteredModel) -> bool | None:
    """Return whether the index is valid, or None if there is none."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(%s)",
            [index_name(model)],
        )
        found = cursor.fetchone()
    return None if found is None else bool(found[0])


def _build(model: RegisteredModel, vectors: int, workers: int | None = None) -> None:
    memory = memory_for(model, vectors) // MIB
    with connection.cursor() as cursor:
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
