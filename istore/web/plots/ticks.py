"""Ticks of an axis: round numbers, or round moments, as many as fit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

STEPS = (1, 2, 2.5, 5, 10)
THOUSANDS = ((1e9, "G"), (1e6, "M"), (1e3, "k"))
FINEST = 1e-9
TINY, HUGE = 1e-4, 1e12  # beyond these a number is written with an exponent
SECOND, MINUTE, HOUR, DAY = 1, 60, 3600, 86_400
TIME_STEPS = (
    *(n * SECOND for n in (1, 2, 5, 10, 15, 30)),
    *(n * MINUTE for n in (1, 2, 5, 10, 15, 30)),
    *(n * HOUR for n in (1, 2, 3, 6, 12)),
    *(n * DAY for n in (1, 2, 7, 14)),
)
MONTH_STEPS = (1, 2, 3, 6, 12, 24, 60, 120)
MONTH_SECONDS = 30 * DAY
NAME_LENGTH = 14  # characters that are written of a name


@dataclass(frozen=True, slots=True)
class Tick:
    """A tick at ``at`` percent of an axis.

    ``moment`` and ``form`` (second, clock, day, month) let the page write a time in the zone of
    the person.
    """

    at: float
    text: str
    moment: str = ""
    form: str = ""


def number_ticks(
    low: float, high: float, most: int = 5, *, whole: bool = False
) -> list[Tick]:
    """Return ticks at multiples of a round step between ``low`` and ``high``, both included.

    With ``whole`` the step is a whole number, as for counts.
    """
    span = high - low
    values = round_numbers(low, high, most, whole=whole)
    if not values:
        return [Tick(0.0, number_text(low))]
    step = _step(low, high, most, whole)
    return [
        Tick(round(100 * (value - low) / span, 3), number_text(value, step))
        for value in values
    ]


def round_numbers(
    low: float, high: float, most: int, *, whole: bool = False
) -> list[float]:
    """Return the multiples of a round step between two numbers, both included.

    There are about ``most`` of them; none where the ends are so close to each other, for
    their size, that a double has no steps between them.
    """
    span = high - low
    if not math.isfinite(span) or span <= FINEST * max(abs(low), abs(high)):
        return []
    step = _step(low, high, most, whole)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    # A product such as 3 * 0.1 is not the double that is nearest to 0.3.
    return [float(f"{n * step:.12g}") for n in range(first, last + 1)]


def _step(low: float, high: float, most: int, whole: bool) -> float:
    step = _number_step((high - low) / most)
    return max(1.0, float(math.ceil(step))) if whole else step


def _number_step(least: float) -> float:
    power: float = 10.0 ** math.floor(math.log10(least))
    return next(n * power for n in STEPS if n * power >= least * (1 - 1e-9))


def number_text(value: float, step: float | None = None) -> str:
    """Return a number as short as it can be beside others that are ``step`` apart."""
    if value and not TINY <= abs(value) < HUGE:
        return f"{value:.3g}"
    if step is None:
        return f"{value:.4g}" if abs(value) < 1e4 else f"{value:,.0f}"
    if abs(step) < TINY:
        return f"{value:.3g}"
    for size, unit in THOUSANDS:
        # The unit goes with the step, too: 500 beside 1k would be two scales on one axis.
        if step >= size / 10 and abs(value) >= size:
            return f"{value / size:.{_digits(step / size)}f}{unit}"
    return f"{value:,.{_digits(step)}f}"


def _digits(step: float) -> int:
    for digits in range(8):
        if math.isclose(step, round(step, digits), rel_tol=1e-6):
            return digits
    return 8


def name_ticks(names: Sequence[str], most: int) -> list[Tick]:
    """Return a tick in the middle of each name's stretch; of more than ``most`` names some."""
    slot, every = 100 / len(names), -(-len(names) // most)
    return [
        Tick(round((place + 0.5) * slot, 3), _short(name))
        for place, name in enumerate(names)
        if place % every == 0
    ]


def _short(name: str) -> str:
    return name if len(name) <= NAME_LENGTH else f"{name[: NAME_LENGTH - 1]}…"


def time_ticks(low: datetime, high: datetime, most: int = 6) -> list[Tick]:
    """Return ticks at round moments in UTC, at most ``most`` and a few."""
    low, high = low.astimezone(UTC), high.astimezone(UTC)
    seconds = (high - low).total_seconds()
    if seconds <= 0:
        return [_tick(low, low, 1.0, "second")]
    least = seconds / most
    for step in TIME_STEPS:
        if step >= least:
            return _even_ticks(low, high, step)
    months = next(
        (n for n in MONTH_STEPS if n * MONTH_SECONDS >= least), MONTH_STEPS[-1]
    )
    return _month_ticks(low, high, months)


def _even_ticks(low: datetime, high: datetime, step: int) -> list[Tick]:
    first = math.ceil(low.timestamp() / step) * step
    moments = []
    while first <= high.timestamp():
        moments.append(datetime.fromtimestamp(first, UTC))
        first += step
    form = "day" if step >= DAY else "clock" if step >= MINUTE else "second"
    seconds = (high - low).total_seconds()
    return [
        # Midnight is the day that begins there.
        _tick(low, at, seconds, "day" if at.timestamp() % DAY == 0 else form)
        for at in moments
    ]


def _month_ticks(low: datetime, high: datetime, step: int) -> list[Tick]:
    number = math.ceil((low.year * 12 + low.month - 1) / step) * step
    ticks = []
    while number // 12 <= datetime.max.year:
        at = datetime(number // 12, number % 12 + 1, 1, tzinfo=UTC)
        if at > high:
            break
        if at >= low:
            ticks.append(_tick(low, at, (high - low).total_seconds(), "month"))
        number += step
    return ticks


FORMS = {"second": "%H:%M:%S", "clock": "%H:%M", "day": "%b %-d", "month": "%b %Y"}


def _tick(low: datetime, at: datetime, seconds: float, form: str) -> Tick:
    where = 100 * ((at - low) / timedelta(seconds=seconds))
    moment = at.isoformat(timespec="seconds").replace("+00:00", "Z")
    return Tick(round(where, 3), at.strftime(FORMS[form]), moment, form)
