"""A statement timeout for the queries of one request."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.conf import settings
from django.db import connection, transaction

TIMED_OUT = "57014"  # SQLSTATE query_canceled, which a statement timeout raises


@contextmanager
def statement_timeout(seconds: float | None = None) -> Iterator[None]:
    """Limit each statement in the block to ``seconds``, by default ``ISTORE_QUERY_SECONDS``.

    A statement that exceeds it raises ``OperationalError``, which is ``query-too-expensive`` to a
    caller. It opens a transaction, so the limit ends with the transaction.
    """
    limit = settings.ISTORE_QUERY_SECONDS if seconds is None else seconds
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"SET LOCAL statement_timeout = {max(1, round(1000 * limit))}")
        yield
        if connection.in_atomic_block and connection.savepoint_ids:
            # In an outer transaction, SET LOCAL would outlive this block.
            cursor.execute("SET LOCAL statement_timeout = 0")


@contextmanager
def each_statement_limited(
    seconds: float | None = None, lock_seconds: float | None = None
) -> Iterator[None]:
    """Limit each statement in the block, by default to ``ISTORE_QUERY_SECONDS``, without a transaction.

    The limit is sent together with the statement, and both are one implicit transaction. So
    it costs no round trip, where ``statement_timeout`` costs three. The block has no
    transaction of its own: nothing else may be set for it. ``lock_seconds`` limits the wait for
    a lock as well.
    """
    limits = {
        "statement_timeout": settings.ISTORE_QUERY_SECONDS
        if seconds is None
        else seconds
    }
    if lock_seconds is not None:
        limits["lock_timeout"] = lock_seconds
    before = "".join(
        f"SET LOCAL {name} = {max(1, round(1000 * limit))};"
        for name, limit in limits.items()
    )

    def send(execute: Any, sql: str, values: Any, many: bool, context: Any) -> None:
        execute(before + sql, values, many, context)
        for _ in limits:
            context["cursor"].nextset()  # past the result of SET

    with connection.execute_wrapper(send):
        yield
    if connection.in_atomic_block:
        with connection.cursor() as cursor:
            for name in limits:
                cursor.execute(f"SET LOCAL {name} = 0")


def is_timeout(error: BaseException) -> bool:
    """Return whether an exception of the database is that of a statement timeout."""
    return getattr(error.__cause__, "sqlstate", None) == TIMED_OUT
