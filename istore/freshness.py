"""Cache invalidation: a change answered with 2xx applies to the next call at every proxy.

Proxies answer from memory, because a query to the database for each call would cost more than
the call. This protocol keeps their memory consistent with the database.

- *Announce.* Triggers on the few tables that proxies read write a row of ``proxy_change`` in
  the transaction of each change, whoever makes it: API, pages, administration, command or
  SQL. They send a ``NOTIFY``, which only makes proxies react sooner, and an ``INFO``, which
  tells this process without a query that it changed something.
- *Lease.* A proxy has a row in ``proxy_lease`` before it caches anything. Several times a
  second it reads, in one statement, its row and the changes that were not visible to its
  previous such statement, and drops what they concern. If its row is there and not suspected,
  it may use its memory until ``LEASE_SECONDS`` after it *began* the statement. After dropping,
  it writes the snapshot of the statement to ``heard``.
- *Wait.* A process that changed something waits, after the commit and before the response,
  until each lease row has heard all changes that are visible now, or until ``WAIT_SECONDS``
  have passed since the commit. Without rows there is nothing to wait for.

Why it holds. Let a change commit at time C. A statement of a proxy that begins after C sees
the change, and the proxy drops the entry. A statement that began before C allows memory until
C + ``LEASE_SECONDS`` at most. So after ``WAIT_SECONDS`` no proxy uses anything older than the
change, whether the proxy is stopped, cut off or dead. A proxy that says it has heard has
dropped the entry before. A lookup that a proxy began before the drop is not cached, nor shared
with later calls. The order of transaction ids does not matter, because snapshots are compared:
no proxy misses a long transaction, and no proxy sees a change that was rolled back.

Rows of dead proxies. A process that has waited ``SUSPECT_SECONDS`` in vain marks the row as
suspected. A statement of the proxy that begins after the mark does not allow memory: the proxy
first removes the mark, and finds out whether its row is still there. A statement that began
before allows memory for ``LEASE_SECONDS`` after the mark at most. So a process that sees the
same mark ``WAIT_SECONDS`` later may delete the row. A proxy without a row starts again with an
empty memory. The cost of a proxy that was killed is one slow change, of 1.2 seconds.

Starting again. A proxy that lost its connection, or finds the mark, writes its row again, and
reads in the same statement which changes its row had not heard. None of those was deleted
while the row was there. It drops what they concern. All other entries are in doubt: the lease
does not cover them, and each is queried again before it is used. They are kept for the case
that the database fails again before that. Then they are used without a query only while no
database answers, like all that is known then, and no longer than
``ISTORE_PROXY_STALE_SECONDS`` after the last answer or heartbeat that covered them.

Clocks are not compared between machines: each side measures durations on its own monotonic
clock, and only rates matter; ``WAIT_SECONDS`` is a tenth longer than the lease. A proxy is not
identified by host, path or number, so proxies may run on several hosts.

What it does not cover: a proxy that cannot reach the database continues from memory for
``ISTORE_PROXY_STALE_SECONDS``, so that the store fails no call because of its own outage. It
cannot tell a database that is unavailable to all, through which nothing can be changed, from
one that is unavailable to this proxy only. In the second case changes arrive when the database
is reachable again, or when that time is over. 0 gives up availability for the guarantee.
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
# Changes that all proxies have heard. SKIP LOCKED, because other processes delete the same
# rows in another order, and would otherwise wait or deadlock.
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
    """Listen for the triggers' INFO on a connection; a handler of ``connection_created``."""
    raw = connection.connection
    with suppress(ValueError):  # a pooled connection has the handler already
        raw.remove_notice_handler(_note)
    raw.add_notice_handler(_note)


def _note(diagnostic: Any) -> None:
    if diagnostic.sqlstate == CHANGED:
        _noted.changed = True


def middleware(
    get_response: Callable[[HttpRequest], HttpResponseBase],
) -> Callable[[HttpRequest], HttpResponseBase]:
    """Middleware: respond only when all proxies know what the request changed."""

    def respond(request: HttpRequest) -> HttpResponseBase:
        with changes_heard():
            return get_response(request)

    return respond


@contextmanager
def changes_heard() -> Iterator[None]:
    """Wait at the end of the block until proxies have heard what this thread changed in it."""
    before = getattr(_noted, "changed", False)
    _noted.changed = False
    try:
        yield
    finally:
        if _noted.changed:
            wait_until_heard()
        _noted.changed = before


def wait_until_heard() -> None:
    """Return when no proxy uses memory older than what is committed now."""
    began = time.monotonic()
    try:
        _wait(began)
    except Error:
        # The database does not answer. After WAIT_SECONDS every lease from before has expired.
        connection.close_if_unusable_or_obsolete()
        time.sleep(max(0.0, began + WAIT_SECONDS - time.monotonic()))


def _wait(began: float) -> None:
    marks: dict[Any, tuple[datetime, float]] = {}  # the mark, and when we first saw it
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
