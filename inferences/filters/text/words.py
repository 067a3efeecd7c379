"""The words of a text query: what each value says, and how it is written."""

from __future__ import annotations

import re
from datetime import UTC, datetime, time
from decimal import Decimal, InvalidOperation

from django.utils.dateparse import parse_date, parse_datetime

from inferences.filters.location import GeoCircle, GeoPoint
from inferences.metadata import REAL, read_float

# What is stored under these string keys has a term of its own.
TERMS_OF_KEYS = {
    "version": "model_version",
    "env": "environment",
    "conversation": "conversation_id",
}
STRING_KEYS = tuple(TERMS_OF_KEYS.values())
METRES = {"": 1, "m": 1, "km": 1000}
RADIUS = re.compile(rf"(?P<number>{REAL.pattern})\s*(?P<unit>m|km)?")
SIMPLE = re.compile(r"[\w.-]+")


def moment_in(text: str, *, end_of_day: bool = False) -> datetime:
    """A day or a moment in RFC 3339, without an offset in UTC. Raises ValueError.

    A day is its first microsecond, or its last.
    """
    if day := parse_date(text):
        return datetime.combine(day, time.max if end_of_day else time.min, UTC)
    moment = parse_datetime(text)
    if moment is None:
        raise ValueError("A day or a moment, such as 2026-01-31T12:00:00Z.")
    try:
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("There is no such moment.") from None


def write_moment(moment: datetime, *, end_of_day: bool = False) -> str:
    """The shortest text that ``moment_in`` reads as the moment."""
    moment = moment.astimezone(UTC)
    if moment.time() == (time.max if end_of_day else time.min):
        return moment.date().isoformat()
    return moment.isoformat().replace("+00:00", "Z")


def circle_in(text: str) -> GeoCircle:
    """``latitude,longitude,radius``, in metres or with ``m`` or ``km``. ValueError."""
    parts = [part.strip() for part in text.split(",")]
    if len(parts) != 3:
        raise ValueError("It is latitude, longitude, radius, such as 51.95,4.14,5km.")
    center = GeoPoint(read_float(parts[0]), read_float(parts[1]))
    found = RADIUS.fullmatch(parts[2])
    if not found:
        raise ValueError(f"{parts[2]!r} is not a distance such as 500m or 5km.")
    try:
        metres = float(Decimal(found["number"]) * METRES[found["unit"] or ""])
    except (InvalidOperation, OverflowError):
        raise ValueError(f"{parts[2]!r} is out of range.") from None
    return GeoCircle(center, metres)


def write_circle(circle: GeoCircle) -> str:
    center, radius = circle.center, circle.radius
    in_km = radius >= 1000 and radius % 1000 == 0 and radius < 1e12
    away = f"{round(radius / 1000)}km" if in_km else f"{number(radius)}m"
    return f"{number(center.latitude)},{number(center.longitude)},{away}"


def number(value: float) -> str:
    """A number as people write it; reads as the same double."""
    return repr(float(value)).removesuffix(".0")


def quoted(text: str) -> str:
    escaped = re.sub(r'(["\\])', r"\\\1", text)
    return f'"{escaped}"'


def word(text: str) -> str:
    """Bare where that reads the same, else in quotation marks."""
    return text if SIMPLE.fullmatch(text) else quoted(text)
