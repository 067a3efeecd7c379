"""Positions in the write-ahead log that a read must have reached, kept in Valkey.

A caller who wrote something reads nothing older than it, and what was removed is shown to nobody
again. So after a commit the position of the log is noted: for the caller who wrote, and for
everybody when records were removed or erased. A replica may answer a caller once it has replayed
both.

Valkey may lose what it was told, when it is restarted. Each process therefore also demands the
position at which it connected to Valkey: what was noted before that lies below it. A connection
that breaks is made again, with a new position. While Valkey does not answer nothing is known, and
the primary answers.
"""

from __future__ import annotations

import threading
import time
from contextlib import suppress

import redis
from django.conf import settings
from django.db import connections

from istore.tasks.broker import connect, reading

EVERYBODY = "istore:wal:removed"
ANSWER_SECONDS, AWAY_SECONDS = 1.0, 1.0
# Longer than any replica that is used lags, whose limit is an hour at most.
KEPT_SECONDS = 24 * 3600
# Raises a position; it never sinks. LSNs are numbers below 2**53 for the first eight petabytes
# of log, so Lua compares them exactly.
RAISE = """
local known = tonumber(redis.call('GET', KEYS[1]) or '0')
if tonumber(ARGV[1]) > known then redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2]) end
"""
PRIMARY = "SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint"


class Unknown(Exception):
    """Valkey does not answer."""


def position() -> int:
    """Return the present position of the primary's log. Raises ``django.db.Error``."""
    with connections["default"].cursor() as cursor:
        cursor.execute(PRIMARY)
        found: int = cursor.fetchone()[0]
    return found


class WritePositions:
    """The positions, over one connection of this process. Safe for threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._client: redis.Redis | None = None
        self._connected_at = 0  # the position
        self._away_until = 0.0

    def needed(self, caller: str) -> int:
        """Return the position that a read for this caller must have reached. Raises ``Unknown``."""
        with self._lock:
            client = self._connection()
            try:
                with reading("MGET", client):
                    found = client.mget([EVERYBODY, _key(caller)])
                    known = [int(each) for each in found if each is not None]
            except redis.RedisError as error:
                raise self._lost(error) from error
            return max([self._connected_at, *known])

    def note(self, at: int, *, caller: str = "", everybody: bool = False) -> None:
        """Note a position for a caller, for everybody, or for both. Raises ``Unknown``."""
        with self._lock:
            client = self._connection()
            keys = [_key(caller)] if caller else []
            keys += [EVERYBODY] if everybody else []
            try:
                with reading("EVAL", client):
                    for key in keys:
                        client.eval(RAISE, 1, key, str(at), str(KEPT_SECONDS))
            except redis.RedisError as error:
                raise self._lost(error) from error

    def forget(self) -> None:
        """Close the connection, as if it had been lost."""
        with self._lock:
            self._drop()

    def _connection(self) -> redis.Redis:
        if self._client is None:
            if time.monotonic() < self._away_until:
                raise Unknown
            try:
                client = connect(
                    settings.ISTORE_REDIS_URL,
                    seconds=ANSWER_SECONDS,
                    single_connection_client=True,
                )
                with reading("PING", client):
                    client.ping()
            except redis.RedisError as error:
                raise self._lost(error) from error
            # After the connection was made: what it may have lost is older.
            self._connected_at = position()
            self._client = client
        return self._client

    def _lost(self, error: Exception) -> Unknown:
        self._away_until = time.monotonic() + AWAY_SECONDS
        self._drop()
        return Unknown(str(error))

    def _drop(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            with suppress(redis.RedisError, OSError):
                client.close()


def _key(caller: str) -> str:
    return f"istore:wal:by:{caller}"


positions = WritePositions()
