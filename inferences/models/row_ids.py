"""Row ids: the microsecond of the event, shifted by 12 bits that tell rows apart.

``created_at`` is derived from the id and is not stored. So pages are ordered by id, and a
span of time is a range of ids. Ids before 2020 are negative. An id names a row within its
model only: ``(model, id)`` is unique in the database, the id alone is not.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

ORIGIN = datetime(2020, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
LOW_BITS = 12
ROOM = 1 << LOW_BITS  # ids that one model has for each microsecond

# The range that fits a bigint, in round years.
EARLIEST = datetime(1949, 1, 1, tzinfo=UTC)
LATEST = datetime(2091, 1, 1, tzinfo=UTC)
LOWEST = -(2**63)


def microseconds(moment: datetime) -> int:
    """Return the whole microseconds from 2020 (``ORIGIN``) to the moment."""
    return (moment - ORIGIN) // MICROSECOND


def first_id_at(moment: datetime) -> int:
    """Return the lowest id of that microsecond: lower ids happened before the moment.

    Moments outside ``EARLIEST`` to ``LATEST`` are brought into that range.
    """
    return microseconds(min(max(moment, EARLIEST), LATEST)) << LOW_BITS


def last_id_at(moment: datetime) -> int:
    """Return the highest id of that microsecond."""
    return first_id_at(moment) | ROOM - 1


def moment_of(row_id: int) -> datetime:
    """Return the time of the event in UTC, to the microsecond."""
    return ORIGIN + (row_id >> LOW_BITS) * MICROSECOND
