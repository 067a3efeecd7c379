"""Advisory locks of PostgreSQL: one process at a time, on whatever host it runs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from django.db import OperationalError, connection, transaction
from psycopg.errors import LockNotAvailable

from istore.db.other_servers import closed_again, session_connection, through

POLL_SECONDS = 0.5
HELD = """
SELECT FROM pg_locks
WHERE locktype = 'advisory' AND granted AND objsubid = 1
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND (classid::bigint << 32 | objid::bigint) = hashtext(%s)::bigint
"""


@dataclass(frozen=True, slots=True)
class AdvisoryLock:
    """A lock that belongs to nothing in the database but its name.

    ``name`` is a text, or the number itself; ``number`` tells apart locks of one name, of one
    model each, say. PostgreSQL knows them as numbers of 64 bits or pairs of 32 bits, so a text is
    hashed. A lock belongs to its connection: PostgreSQL releases it, too, when the connection of
    a killed process ends. Those that outlast a transaction go past a pooler (``other_servers``).
    """

    name: str | int
    number: int | None = None

    def wait(self) -> None:
        """Take the lock for as long as the connection lasts, once it is free."""
        # Not by waiting in a statement: its snapshot would hold up an index that the holder
        # builds concurrently, and the holder would be the victim of the deadlock.
        while not self.try_take():
            time.sleep(POLL_SECONDS)

    def try_take(self) -> bool:
        """Take the lock for as long as the connection lasts. Return False if it is not free.

        Taking it again succeeds, so a call also tells whether the connection still has it.
        """
        return self._call("pg_try_advisory_lock")

    def wait_at_most(self, seconds: float) -> bool:
        """Take the lock as ``wait`` does. Return False if it is not free in time."""
        try:
            with (
                through(session_connection()),
                transaction.atomic(),
                connection.cursor() as cursor,
            ):
                limit = f"{int(seconds * 1000)}ms"
                cursor.execute("SELECT set_config('lock_timeout', %s, true)", [limit])
                self._call("pg_advisory_lock")
        except OperationalError as error:
            if isinstance(error.__cause__, LockNotAvailable):
                return False
            raise
        return True

    @contextmanager
    def try_hold(self, seconds: float = 0.0) -> Iterator[bool]:
        """Hold the lock in the block; yield False, and hold nothing, if it is not free.

        Whoever gives it some ``seconds`` to get free stands in a queue meanwhile.
        """
        with closed_again():
            is_ours = self.wait_at_most(seconds) if seconds else self.try_take()
            try:
                yield is_ours
            finally:
                if is_ours:
                    self._call("pg_advisory_unlock")

    def is_held(self) -> bool:
        """Return whether anybody has the lock of this name, without taking it for a moment.

        Only for a lock without a ``number``, which PostgreSQL shows in two halves.
        """
        assert isinstance(self.name, str) and self.number is None
        with connection.cursor() as cursor:
            cursor.execute(HELD, [self.name])
            return cursor.fetchone() is not None

    def wait_until_commit(self) -> None:
        """Take the lock until the transaction ends, once it is free."""
        self._call("pg_advisory_xact_lock", connection)

    def try_until_commit(self) -> bool:
        """Take the lock until the transaction ends. Return False if it is not free."""
        return self._call("pg_try_advisory_xact_lock", connection)

    def _call(self, function: str, on: Any = None) -> bool:
        """Call a function of PostgreSQL, by default in a session that lasts."""
        name = "hashtext(%s)" if isinstance(self.name, str) else "%s"
        values = [self.name] if self.number is None else [self.name, self.number]
        key = ", ".join([name, "%s"][: len(values)])
        with (on or session_connection()).cursor() as cursor:
            cursor.execute(f"SELECT {function}({key})", values)
            (result,) = cursor.fetchone()
        return result is True
