"""Histograms: bins of values, or of inferences over time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

SHORT = timedelta(minutes=10)
DIGITS = 3  # significant digits of an estimated total


@dataclass(frozen=True, slots=True)
class Bin:
    """A bin of a histogram."""

    low: Any
    high: Any
    count: int
    height: float  # in percent of the largest bin

    @property
    def y(self) -> float:
        return 100 - self.height


@dataclass(frozen=True, slots=True)
class Histogram:
    """Bins of equal width from ``low`` to ``high``, in the unit of the filter control.

    They cover all matches unless ``is_whole`` is False, and are exact unless ``is_estimate``.
    """

    bins: list[Bin]
    low: Any
    high: Any
    is_whole: bool = True
    is_estimate: bool = False

    @property
    def total(self) -> int:
        """The total; that of an estimate is rounded to ``DIGITS`` digits."""
        total = sum(bin_.count for bin_ in self.bins)
        return round(total, DIGITS - len(str(total))) if self.is_estimate else total

    @property
    def precision(self) -> str:
        """To what the ends of a stretch of time are written, so that short ones differ, too."""
        return "second" if self.high - self.low < SHORT else "minute"


def histogram(
    values: Sequence[float], low: float, high: float, bins: int, is_whole: bool
) -> Histogram:
    """Return equal bins ``[low, high)``; the last one includes its upper end."""
    if high <= low:
        high = max(low + 1, math.nextafter(low, math.inf))
    counts = [0] * bins
    # Halved first: the span of the largest doubles overflows to infinity.
    span = high / 2 - low / 2
    for value in values:
        place = int((value / 2 - low / 2) / span * bins) if span else 0
        counts[min(max(place, 0), bins - 1)] += 1
    edges = [low * (1 - n / bins) + high * (n / bins) for n in range(bins)] + [high]
    return Histogram(bins_of(edges, counts), low, high, is_whole)


def limits_of(found: Sequence[Histogram | None]) -> tuple[float, float] | None:
    """Return the smallest and largest value; None if all values are equal."""
    ends = {(each.low, each.high) for each in found if each}
    if len(ends) < 2:
        return None
    return min(low for low, _ in ends), max(high for _, high in ends)


def bins_of(edges: Sequence[Any], counts: Sequence[int]) -> list[Bin]:
    """Return a bin between each two edges; a bin that is not empty is always visible."""
    peak = max(counts, default=0) or 1
    return [
        Bin(low, high, count, round(max(100 * count / peak, 3), 1) if count else 0)
        for low, high, count in zip(edges, edges[1:], counts, strict=False)
    ]
