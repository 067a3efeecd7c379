"""Answer a page in bounded time where its matches are hard to find: with a part, and its end.

Words that are said often, in a phrase that hardly ever is, have no index: every text with both is
looked at, or every row of the model. Neither has what few inferences have in their side rows, as a
status or an input that is gone. A caller who can go on by a cursor asks with ``may_stop``.
Then all ways of the planner together have ``SECONDS``, and after that rows are walked in the order
of the page for as long again. What was found until then is the page, and it ends where the walk
did.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from django.db import OperationalError, connection, transaction

from inferences.search.access_paths import TABLE, Sql
from inferences.search.conditions import Conditions
from inferences.search.cursors import PagePosition
from istore.db.statement_timeout import is_timeout

SECONDS = 1.5  # of the planner's ways together, and of the walk behind them
WINDOW, WINDOW_MOST = 1_000, 20_000  # rows of the first window, and of the largest
WINDOW_SECONDS = 0.3  # that a window should take

_ends_at: ContextVar[float | None] = ContextVar("ends_at", default=None)


class PartOfPage(list[PagePosition]):
    """The positions that were found before the time was up; rows behind ``end`` were not looked at."""

    def __init__(self, found: list[PagePosition], end: int) -> None:
        super().__init__(found)
        self.end = end  # a row id


def limit_of_statement() -> str:
    """Return SQL that bounds the next statement by the time that is left; empty without a bound."""
    end = _ends_at.get()
    if end is None:
        return ""
    left = max(1, round(1000 * (end - time.monotonic())))
    return f"SET LOCAL statement_timeout = {left}; "


def in_time(
    read: Callable[[], list[PagePosition]],
) -> list[PagePosition] | None:
    """Return what is read; None if that takes longer than ``SECONDS``."""
    try:
        with _limited():
            return read()
    except OperationalError as error:
        if not is_timeout(error):
            raise
        return None


@contextmanager
def _limited() -> Iterator[None]:
    """Bound all statements of the block together, and leave the transaction as it was."""
    savepoint = transaction.savepoint() if connection.in_atomic_block else None
    token = _ends_at.set(time.monotonic() + SECONDS)
    try:
        yield
    finally:
        _ends_at.reset(token)
        if savepoint is not None:  # what is rolled back is the timeout alone
            transaction.savepoint_rollback(savepoint)


def walk(
    asked: Conditions,
    newest_first: bool,
    limit: int,
    ask: Callable[[Sql], list[Any]],
) -> list[PagePosition]:
    """Return the first ``limit`` matches by time, or a ``PartOfPage`` when the time is up."""
    found: list[int] = []
    asked = asked.by_key
    end, most = time.monotonic() + SECONDS, WINDOW
    way, last = ("DESC", "min") if newest_first else ("ASC", "max")
    while True:
        begun = time.monotonic()
        where, rest = asked.live, asked.rest
        window = asked.window()
        rows = Sql(
            f"SELECT * FROM {TABLE} WHERE {where.sql}{window.sql} "
            f"ORDER BY {TABLE}.id {way} LIMIT {most}",
            where.values + window.values,
        )
        walked = Sql(
            f"WITH walked AS MATERIALIZED ({rows.sql}) SELECT "
            f"ARRAY(SELECT {TABLE}.id FROM walked AS {TABLE} WHERE {rest.sql} "
            f"ORDER BY {TABLE}.id {way} LIMIT {limit - len(found)}), "
            f"(SELECT {last}(id) FROM walked), (SELECT count(*) FROM walked)",
            rows.values + rest.values,
        )
        ((ids, edge, count),) = ask(walked)
        found += ids
        positions = [PagePosition(None, row_id) for row_id in found]
        if len(found) >= limit or count < most:
            return positions
        now = time.monotonic()
        if now > end:
            return PartOfPage(positions, edge)
        beyond = (None, edge - 1) if newest_first else (edge + 1, None)
        asked = asked.within(*beyond)
        most = min(round(most * min(WINDOW_SECONDS / (now - begun), 4)), WINDOW_MOST)
        most = max(most, 10)
