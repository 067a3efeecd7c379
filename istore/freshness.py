"""A setting that was answered with 2xx holds for the next call at every proxy.

Proxies answer from memory, because a question to the database for each call would cost
more than the call. This is the protocol that keeps their memory as good as the database.

- *Announce.* Triggers on the few tables that proxies read write a row of ``proxy_change``
  in the transaction of each change, whoever makes it: API, pages, administration, command
  or SQL. They send a ``NOTIFY``, which only makes things faster, and an ``INFO``, by which
  this process learns without a question that it changed something.
- *Lease.* A proxy has a row in ``proxy_lease`` before it remembers anything. Several times
  a second it reads, in one statement, its row and the changes that were not visible to its
  previous such statement, and forgets what they are about. If its row is there and not
  suspected, it may use its memory until ``LEASE_SECONDS`` after it *began* the statement.
  Having forgotten, it writes the snapshot of the statement to ``heard``.
- *Wait.* Who changed something waits, after the commit and before the answer, until each
  row has heard all changes that are visible now, or until ``WAIT_SECONDS`` have passed
  since the commit. Without rows there is nothing to wait for.

Why it holds. Let a change commit at C. A statement of a proxy that begins after C sees the
change and forgets. One that began before C allows memory until C + ``LEASE_SECONDS`` at
most. So after ``WAIT_SECONDS`` no proxy uses what is older than the change, whether it is
stopped, cut off or dead; a proxy that says it has heard has forgotten before. A lookup that
a proxy began before it forgot is not remembered, nor shared with calls that come later.
The order of transaction numbers does not matter: what is compared are snapshots, so
a long transaction is missed by nobody, and rolled-back changes are seen by nobody.

Rows of the dead. Who has waited ``SUSPECT_SECONDS`` in vain marks the row as suspected. A
statement of the proxy that begins after the mark does not allow memory: the proxy first
takes the mark away, and finds out whether its row is still there. One that began before
allows memory for ``LEASE_SECONDS`` after the mark at most. So who sees the same mark
``WAIT_SECONDS`` later may delete the row. A proxy without a row begins anew with an empty
memory. The cost of a proxy that was killed is one slow change, of 1.2 seconds.

Beginning anew. A proxy that lost its connection, or finds the mark, writes its row again, and
reads in the same statement which changes its row had not heard: none of those was
deleted while the row was there. What they are about is forgotten. Everything else is in doubt:
the lease does not speak for it, and it is asked anew before it is used. It is kept all the
same, for a database that is away again before that: used without a question it is only while
nobody answers one, like all that is known then, and no longer than
``ISTORE_PROXY_STALE_SECONDS`` after the last answer or heartbeat that spoke for it.

Clocks are compared with nobody's: each side measures durations on its own monotonic clock,
and only rates matter; ``WAIT_SECONDS`` is a tenth longer than the lease. No process is
known by host, path or number, so proxies may run on several hosts.

What it does not cover: a proxy that cannot reach the database goes on from memory for
``ISTORE_PROXY_STALE_SECONDS``, so that the store fails no call for its own sake. It cannot
tell a database that is away for all, through which nothing can be changed, from one that
is away for this proxy alone. In the second case changes reach it when the database does, or
when that time is over. 0 trades availability for the promise.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import Any

from django.db import Error, connection
from django.http import HttpRequest
from django.http.response import HttpResponseBase

LEASE_SECONDS = 1.0
WAIT_SECONDS = 1.1 * LEASE_SECONDS
SUSPECT_SECONDS = 0.1
FIRST_PAUSE, LONGEST_PAUSE = 0.001, 0.02
CHANGED = "ISC01"  # the code of the triggers' INFO

# Proxies that have not heard of some change that is visible in the snapshot.
BEHIND = """
SELECT lease.id, lease.suspected_at FROM proxy_lease AS lease
WHERE EXISTS (
    SELECT FROM proxy_change AS change
    WHERE pg_visible_in_snapshot(change.xid, %(now)s::pg_snapshot)
    AND NOT pg_visible_in_snapshot(change.xid, lease.heard)
)
"""
SUSPECT = """
UPDATE proxy_lease SET suspected_at = clock_timestamp()
WHERE id = ANY(%(ids)s) AND suspected_at IS NULL
"""
DELETE = "DELETE FROM proxy_lease WHERE id = %(id)s AND suspected_at = %(mark)s"
# What all have heard. SKIP LOCKED: others clean up, too, in whatever order.
FORGET_CHANGES = """
DELETE FROM proxy_change WHERE id IN (
    SELECT change.id FROM proxy_change AS change
    WHERE NOT EXISTS (
        SELECT FROM proxy_lease AS lease
        WHERE NOT pg_visible_in_snapshot(change.xid, lease.heard)
    )
    FOR UPDATE SKIP LOCKED
)
"""

_noted = threading.local()


def watch_connection(sender: object, connection: Any, **_: Any) -> None:
    """Learn of changes on a connection; connected to ``connection_created``."""
    raw = connection.connection
    with suppress(ValueError):  # one of a pool comes again
        raw.remove_notice_handler(_note)
    raw.add_notice_handler(_note)


def _note(diagnostic: Any) -> None:
    if diagnostic.sqlstate == CHANGED:
        _noted.changed = True


def middleware(
    get_response: Callable[[HttpRequest], HttpResponseBase],
) -> Callable[[HttpRequest], HttpResponseBase]:
    """Answer when all proxies know what the request changed."""

    def respond(request: HttpRequest) -> HttpResponseBase:
        with changes_heard():
            return get_response(request)

    return respond


@contextmanager
def changes_heard() -> Iterator[None]:
    """Leave the block when proxies have heard what this thread changed in it."""
    before = getattr(_noted, "changed", False)
    _noted.changed = False
    try:
        yield
    finally:
        if _noted.changed:
            wait_until_heard()
        _noted.changed = before


def wait_until_heard() -> None:
    """Return when no proxy uses memory from before what is committed now."""
    began = time.monotonic()
    try:
        _wait(began)
    except Error:
        # Nobody can be asked. When the lease is over, nobody has one from before.
        connection.close_if_unusable_or_obsolete()
        time.sleep(max(0.0, began + WAIT_SECONDS - time.monotonic()))


def _wait(began: float) -> None:
    marks: dict[Any, tuple[datetime, float]] = {}  # as seen, and when first
    pause = FIRST_PAUSE
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_current_snapshot()::text")
        (now,) = cursor.fetchone()
        while True:
            cursor.execute(BEHIND, {"now": now})
            seen_at = time.monotonic()
            behind = dict(cursor.fetchall())
            if not behind:
                break
            marks = {
                lease: marks[lease]
                if lease in marks and marks[lease][0] == mark
                else (mark, seen_at)
                for lease, mark in behind.items()
                if mark is not None
            }
            if seen_at > began + SUSPECT_SECONDS and len(marks) < len(behind):
                cursor.execute(SUSPECT, {"ids": list(behind.keys() - marks.keys())})
            for lease, (mark, first_seen) in marks.items():
                if seen_at > first_seen + WAIT_SECONDS:
                    cursor.execute(DELETE, {"id": lease, "mark": mark})
            if seen_at > began + WAIT_SECONDS + 2 * SUSPECT_SECONDS:
                break
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)
        cursor.execute(FORGET_CHANGES)
