"""A statement timeout for the queries of one request."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.conf import settings
from django.db import connection, transaction


@contextmanager
def statement_timeout(seconds: float | None = None) -> Iterator[None]:
    """Limit each statement in the block to ``seconds``, by default ``ISTORE_QUERY_SECONDS``.

    A statement that exceeds it raises ``OperationalError``, which the API answers as a 422
    ``query-too-expensive``. It opens a transaction, so the limit ends with the transaction.
    """
    limit = settings.ISTORE_QUERY_SECONDS if seconds is None else seconds
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"SET LOCAL statement_timeout = {max(1, round(1000 * limit))}")
        yield
        if connection.in_atomic_block and connection.savepoint_ids:
            # In an outer transaction, SET LOCAL would outlive this block.
            cursor.execute("SET LOCAL statement_timeout = 0")
