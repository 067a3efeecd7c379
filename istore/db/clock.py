"""The database's clock, the one clock for limits, leases and defaults."""

from __future__ import annotations

from datetime import datetime

from django.db import connection


def now() -> datetime:
    """Return the current time in UTC by the database's clock."""
    moment: datetime
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        (moment,) = cursor.fetchone()
    return moment
