"""Read and write moments as people type them: days, timestamps, and times before now."""

from __future__ import annotations

import re
from datetime import UTC, datetime, time, timedelta

from django.utils.dateparse import parse_date, parse_datetime

from istore.db import clock

RELATIVE = re.compile(r"(?P<number>[1-9]\d{0,4})(?P<unit>min|m|h|d|w)")
UNITS = {"m": "minutes", "min": "minutes", "h": "hours", "d": "days", "w": "weeks"}


class RelativeMoment(datetime):
    """A moment that was given as a time before now, such as ``24h``.

    It compares as the moment that it was when it was parsed, but its text and ``repr`` are
    what was given. A cursor is bound to the ``repr`` of a filter: so it still fits when the
    next page is asked for a second later.
    """

    given = ""  # stays empty for results of arithmetic with such a moment

    @classmethod
    def before(cls, now: datetime, given: str) -> RelativeMoment:
        """Return the moment that ``given`` means before now. Raises ValueError for another text."""
        found = RELATIVE.fullmatch(given)
        if not found:
            raise ValueError(f"{given!r} is not a time before now such as 24h.")
        length = {UNITS[found["unit"]]: int(found["number"])}
        at = now.astimezone(UTC) - timedelta(**length)  # 99999w are 1,917 years
        parts = (at.year, at.month, at.day, at.hour, at.minute, at.second)
        moment = cls(*parts, at.microsecond, UTC)
        moment.given = given
        return moment

    def fixed(self) -> datetime:
        """Return the plain datetime that it was when it was parsed."""
        return datetime.combine(self.date(), self.time(), UTC)

    def __repr__(self) -> str:
        return f"RelativeMoment({self.given!r})" if self.given else super().__repr__()


def moment_in(text: str, *, end_of_day: bool = False) -> datetime:
    """Return the moment in UTC of a day, an RFC 3339 timestamp, or a time before now.

    A timestamp without an offset is in UTC. A day is its first microsecond, or its last with
    ``end_of_day``. ``24h`` is 24 hours ago by the database's clock; the units are m (min), h,
    d and w. Raises ValueError.
    """
    if RELATIVE.fullmatch(text):
        return RelativeMoment.before(clock.now(), text)
    if day := parse_date(text):
        return datetime.combine(day, time.max if end_of_day else time.min, UTC)
    moment = parse_datetime(text)
    if moment is None:
        raise ValueError("A day or a moment, such as 2026-01-31T12:00:00Z or 24h.")
    try:
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("There is no such moment.") from None


def write_moment(moment: datetime, *, end_of_day: bool = False) -> str:
    """Return the shortest text that ``moment_in`` reads as the moment."""
    if isinstance(moment, RelativeMoment) and moment.given:
        return moment.given
    moment = moment.astimezone(UTC)
    if moment.time() == (time.max if end_of_day else time.min):
        return moment.date().isoformat()
    return moment.isoformat().replace("+00:00", "Z")
