"""One clock, the database's: for limits, leases and the ``now`` of a default."""

from __future__ import annotations

from datetime import datetime

from django.db import connection


def now() -> datetime:
    """The present moment in UTC, as the database tells it."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        (moment,) = cursor.fetchone()
    return moment
