"""Row ids: the microsecond an inference happened in, and 12 bits to tell rows apart.

``created_at`` is derived from the id and stored nowhere, so the id is the order of
every page and a span of time is a range of ids. Ids before 2020 are negative. An id
names a row within its model; only ``(model, id)`` is unique in the database.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

ORIGIN = datetime(2020, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
LOW_BITS = 12
ROOM = 1 << LOW_BITS  # inferences of one model that one microsecond can hold

EARLIEST = datetime(1949, 1, 1, tzinfo=UTC)  # what fits a bigint, in round years
LATEST = datetime(2091, 1, 1, tzinfo=UTC)
LOWEST = -(2**63)


def microseconds(moment: datetime) -> int:
    return (moment - ORIGIN) // MICROSECOND


def first_id_at(moment: datetime) -> int:
    """The lowest id of that microsecond: ids below it happened before the moment."""
    return microseconds(min(max(moment, EARLIEST), LATEST)) << LOW_BITS


def last_id_at(moment: datetime) -> int:
    """The highest id of that microsecond."""
    return first_id_at(moment) | ROOM - 1


def moment_of(row_id: int) -> datetime:
    """When the inference happened, in UTC to the microsecond."""
    return ORIGIN + (row_id >> LOW_BITS) * MICROSECOND
