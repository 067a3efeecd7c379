"""The proxy's side of ``istore.freshness``: how long its cached lookups may be used.

A connection of its own listens for changes and reads several times a second what has changed.
While the database cannot be reached, ``is_away`` is true and ``silent_seconds`` says for how
long; calls are then answered from memory for as long as the installation allows.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
import uuid
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psycopg
from django.conf import settings

from istore.db.other_servers import session_connection
from istore.db.postgresql.base import configure
from istore.freshness import FORGET_CHANGES, LEASE_SECONDS
from istore.uuids import uuid7

HEARTBEAT_SECONDS = 0.3 * LEASE_SECONDS
ANSWER_SECONDS = 1.5  # a database that takes longer counts as away
RETRY_SECONDS = 0.25  # between attempts to connect
# SQLSTATE classes: a lost connection, and intervention by an operator (a shutdown, say).
LOST, GOING_AWAY = "08", "57"
CHANGES_MOST = 1000  # with so many changes at once, everything is forgotten

# While the lease row exists, nobody deletes a change that it has not heard. So these are all
# the changes of the meantime. NULL means that there was no row, so changes may be missing.
BEGIN = """
WITH earlier AS (SELECT heard FROM proxy_lease WHERE id = %(id)s), begun AS (
    INSERT INTO proxy_lease (id, host) VALUES (%(id)s, %(host)s)
    ON CONFLICT (id) DO UPDATE SET heard = pg_current_snapshot(), suspected_at = NULL
    RETURNING heard
)
SELECT begun.heard::text, (SELECT ARRAY(
    SELECT DISTINCT change.about FROM proxy_change AS change
    WHERE pg_visible_in_snapshot(change.xid, pg_current_snapshot())
    AND NOT pg_visible_in_snapshot(change.xid, earlier.heard)
    LIMIT %(most)s
) FROM earlier)
FROM begun
"""
# The row exists unless somebody waited in vain for this proxy, and deleted it.
HEARTBEAT = """
SELECT pg_current_snapshot()::text, lease.suspected_at IS NOT NULL, ARRAY(
    SELECT DISTINCT change.about FROM proxy_change AS change
    WHERE pg_visible_in_snapshot(change.xid, pg_current_snapshot())
    AND NOT pg_visible_in_snapshot(change.xid, %(previous)s::pg_snapshot)
    LIMIT %(most)s
)
FROM proxy_lease AS lease WHERE lease.id = %(id)s
"""
HEARD = "UPDATE proxy_lease SET heard = %(heard)s::pg_snapshot WHERE id = %(id)s"
CHANNEL = "LISTEN istore_settings"

# CLOCK_BOOTTIME runs on during suspend: a machine that slept missed changes meanwhile, so
# its sleep must count against the lease.
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)

# Forgets everything that depends on the changed rows; None: everything there is.
Forget = Callable[[Collection[str] | None], None]
# Marks all cached lookups as in doubt. They were right at that moment; None: never known.
Doubt = Callable[[float | None], None]

log = logging.getLogger(__name__)


def clock() -> float:
    """Return the seconds of a monotonic clock that also runs while the machine is suspended."""
    return time.clock_gettime(_CLOCK)


class Lease:
    """Whether the cached lookups of this process may be used. For one event loop."""

    def __init__(self) -> None:
        self.until = 0.0
        self.is_away = False
        self.is_refused = False  # the database answers, but accepts no writes, say
        self.heard_at: float | None = None  # None: never
        self._id = uuid.UUID(uuid7())
        self._caches: list[tuple[Forget, Doubt]] = []
        self._outcome: asyncio.Future[None] | None = None
        self._follower: asyncio.Task[None] | None = None

    def tell(self, forget: Forget, doubt: Doubt) -> None:
        """Register callbacks. They are called before a change is acknowledged as heard."""
        self._caches.append((forget, doubt))

    def holds(self) -> bool:
        """Return whether cached lookups may be used now."""
        return clock() < self.until

    @property
    def silent_seconds(self) -> float:
        """For how many seconds nothing was heard of the database."""
        return float("inf") if self.heard_at is None else clock() - self.heard_at

    async def renew(self) -> bool:
        """Return whether cached lookups may be used, after waiting for the database if needed.

        It returns False without waiting while the database is away, or gives no lease.
        """
        if self.holds():
            return True
        loop = asyncio.get_running_loop()
        if self._follower is None or self._follower.done():
            self._follower = loop.create_task(self._follow())
        if not self.is_away and not self.is_refused:
            if self._outcome is None:
                self._outcome = loop.create_future()
            await asyncio.shield(self._outcome)
        return self.holds()

    async def _follow(self) -> None:
        """Keep a connection and its heartbeats, for ever."""
        while True:
            is_new = True
            try:
                async with asyncio.timeout(ANSWER_SECONDS):
                    database = await _connect()
                try:
                    async for _ in self._heartbeats(database):
                        is_new = False
                finally:
                    await database.close()
            except (psycopg.Error, OSError, TimeoutError) as error:
                if not is_new:  # it worked and was lost: connect again without a pause
                    continue
                self._note_failed(error)
            except Exception as error:
                log.exception("The lease of the proxy failed")
                self._note_failed(error)
            await asyncio.sleep(RETRY_SECONDS)

    async def _heartbeats(self, database: psycopg.AsyncConnection[Any]) -> Any:
        """Yield after each heartbeat; end by an error only."""
        with _answering(database):
            await database.execute(CHANNEL)
            previous = await self._begin(database)
        while True:
            with _answering(database):
                previous = await self._heartbeat(database, previous)
            yield
            if self.holds():
                await _notification(database)

    async def _begin(self, database: psycopg.AsyncConnection[Any]) -> str:
        """Begin a lease: put all cached lookups in doubt, and forget those that changed.

        If there was no row, everything is forgotten: somebody who changed something gave the
        proxy up.
        """
        given = {"id": self._id, "host": socket.gethostname(), "most": CHANGES_MOST}
        cursor = await database.execute(BEGIN, given)
        heard: str
        ((heard, changes),) = await cursor.fetchall()
        self._forget_all(changes)
        for _, doubt in self._caches:
            doubt(self.heard_at)
        return heard

    async def _heartbeat(
        self, database: psycopg.AsyncConnection[Any], previous: str
    ) -> str:
        """Read the changes since the previous snapshot, forget them, and extend the lease.

        The lease counts from the moment before the statement, as ``istore.freshness`` demands.
        """
        began = clock()
        given = {"id": self._id, "previous": previous, "most": CHANGES_MOST}
        row = await (await database.execute(HEARTBEAT, given)).fetchone()
        if row is None or row[1]:
            return await self._begin(database)
        heard: str
        heard, _, changes = row
        if changes:
            self._forget_all(changes)
        self._note_heard(began)
        if changes:
            given = {"id": self._id, "heard": heard}
            await database.execute(HEARD, given)
            await database.execute(FORGET_CHANGES)
        return heard

    def _forget_all(self, changes: Collection[str] | None) -> None:
        if changes is not None:
            changes = frozenset(changes) if len(changes) < CHANGES_MOST else None
        for forget, _ in self._caches:
            forget(changes)

    def _note_heard(self, began: float) -> None:
        self.until = began + LEASE_SECONDS
        self.heard_at = began
        if self.is_away:
            log.warning("The database answers again")
        self.is_away = self.is_refused = False
        self._settle()

    def _note_failed(self, error: Exception) -> None:
        code = getattr(error, "sqlstate", None) or LOST
        is_away = code[:2] in (LOST, GOING_AWAY)
        if is_away > self.is_away:
            log.warning("The database does not answer: calls go on from memory")
        if not is_away and not self.is_refused:
            log.warning("The database gives no lease (%s): each call asks it", error)
        self.is_away, self.is_refused = is_away, not is_away
        self._settle()

    def _settle(self) -> None:
        outcome, self._outcome = self._outcome, None
        if outcome is not None and not outcome.done():
            outcome.set_result(None)


async def _connect() -> psycopg.AsyncConnection[Any]:
    given = session_connection().get_connection_params()  # a pooler lets nobody LISTEN
    for name in ("cursor_factory", "context"):
        given.pop(name, None)
    database = await psycopg.AsyncConnection.connect(**given, autocommit=True)
    statement = configure(database.info.server_version)
    await database.execute(statement, [settings.ISTORE_DATABASE_SEARCH_PATH])
    return database


@contextmanager
def _answering(database: psycopg.AsyncConnection[Any]) -> Iterator[None]:
    """Shut the connection down, and so end the statement, if the database takes too long.

    Cancelling would not do: psycopg then asks the database to cancel the statement, and waits
    for it.
    """
    loop = asyncio.get_running_loop()
    timer = loop.call_later(ANSWER_SECONDS, _sever, database)
    try:
        yield
    finally:
        timer.cancel()


def _sever(database: psycopg.AsyncConnection[Any]) -> None:
    with (
        suppress(OSError, psycopg.Error),
        socket.socket(fileno=os.dup(database.fileno())) as end,
    ):
        end.shutdown(socket.SHUT_RDWR)


async def _notification(database: psycopg.AsyncConnection[Any]) -> None:
    """Wait until somebody announces a change, or the next heartbeat is due."""
    async for _ in database.notifies(timeout=HEARTBEAT_SECONDS, stop_after=1):
        pass
