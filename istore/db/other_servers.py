"""Connections to the database on other ways: past a pooler, and to a read replica.

Each thread has its own, as it has of ``django.db.connections``. They are not among those, so no
migration, test or router meets them. ``through`` makes one of them the connection of this thread
for a block: all code in it, the ORM and plain statements alike, then uses it without knowing.

A pooler that gives a server's connection for one transaction only (PgBouncer with
``pool_mode = transaction``) keeps nothing of a session: no advisory lock, temporary table, ``SET``,
``LISTEN`` or cursor outlives the transaction. What needs one of them goes past the pooler.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.transaction import TransactionManagementError
from django.db.utils import ConnectionHandler


class OtherServer:
    """The connections of threads to the server that a setting names, if it names one."""

    def __init__(self, setting: str) -> None:
        self._setting = setting
        self._given: Any = None
        self._handler: ConnectionHandler | None = None

    @property
    def is_given(self) -> bool:
        """Return whether the setting names a server."""
        return getattr(settings, self._setting) is not None

    def connection(self) -> BaseDatabaseWrapper:
        """Return this thread's connection, which opens at its first statement.

        Its alias is that of the default connection, so instances that are read through it
        belong to no other database.
        """
        given = getattr(settings, self._setting)
        if self._handler is None or self._given is not given:
            self._given = given
            self._handler = ConnectionHandler({DEFAULT_DB_ALIAS: dict(given)})
        found: BaseDatabaseWrapper = self._handler[DEFAULT_DB_ALIAS]
        return found

    def close(self) -> None:
        """Close this thread's connection, if there is one."""
        if self._handler is not None:
            for each in self._handler.all(initialized_only=True):
                each.close()

    def forget(self) -> object:
        """Drop all connections without closing them, in a forked child; return what holds them."""
        held, self._handler = self._handler, None
        return held


DIRECT = OtherServer("ISTORE_DIRECT_DATABASE")
REPLICA = OtherServer("ISTORE_REPLICA_DATABASE")


@contextmanager
def through(other: BaseDatabaseWrapper) -> Iterator[None]:
    """Make another connection that of this thread for the block."""
    own = connections[DEFAULT_DB_ALIAS]
    connections[DEFAULT_DB_ALIAS] = other
    try:
        yield
    finally:
        connections[DEFAULT_DB_ALIAS] = own


def session_connection() -> BaseDatabaseWrapper:
    """Return this thread's connection whose session is its own: past the pooler, if one is used."""
    if DIRECT.is_given:
        return DIRECT.connection()
    return connections[DEFAULT_DB_ALIAS]


@contextmanager
def own_session() -> Iterator[None]:
    """Run the block on a connection whose session is its own. Not within a transaction."""
    own = connections[DEFAULT_DB_ALIAS]
    other = session_connection()
    if other is own:
        yield
        return
    if own.in_atomic_block:
        raise TransactionManagementError("A transaction cannot go past the pooler.")
    before = len(other.execute_wrappers)
    other.execute_wrappers.extend(own.execute_wrappers)
    try:
        with closed_again(), through(other):
            yield
    finally:
        del other.execute_wrappers[before:]


@contextmanager
def closed_again() -> Iterator[None]:
    """Close the connection past the pooler afterwards, if this thread had none before."""
    had_none = DIRECT.is_given and DIRECT.connection().connection is None
    try:
        yield
    finally:
        if had_none:
            DIRECT.close()
