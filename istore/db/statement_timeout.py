"""An end to what the database does for one question."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.conf import settings
from django.db import connection, transaction


@contextmanager
def statement_timeout(seconds: float | None = None) -> Iterator[None]:
    """Statements within take no longer than ``ISTORE_QUERY_SECONDS`` each.

    One that does raises the ``OperationalError`` that the API tells as a 422
    ``query-too-expensive``. Opens a transaction, so that the limit ends with it.
    """
    limit = settings.ISTORE_QUERY_SECONDS if seconds is None else seconds
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"SET LOCAL statement_timeout = {max(1, round(1000 * limit))}")
        yield
        if connection.in_atomic_block and connection.savepoint_ids:
            # Within a transaction that goes on, the limit would go on as well.
            cursor.execute("SET LOCAL statement_timeout = 0")
