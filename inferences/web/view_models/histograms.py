"""Bins to draw: how values, or inferences over time, are distributed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

DIGITS = 3  # of a total that is estimated


@dataclass(frozen=True, slots=True)
class Bin:
    low: Any
    high: Any
    count: int
    height: float  # in percent

    @property
    def y(self) -> float:
        return 100 - self.height


@dataclass(frozen=True, slots=True)
class Histogram:
    """Bins of equal width from ``low`` to ``high``, in the unit of its control.

    Of everything unless ``is_whole`` is False; counted unless it is an estimate.
    """

    bins: list[Bin]
    low: Any
    high: Any
    is_whole: bool = True
    is_estimate: bool = False

    @property
    def total(self) -> int:
        """How many there are; of an estimate, the digits that mean something."""
        total = sum(each.count for each in self.bins)
        return round(total, DIGITS - len(str(total))) if self.is_estimate else total


def histogram(
    values: Sequence[float], low: float, high: float, bins: int, is_whole: bool
) -> Histogram:
    """Equal bins, each closed below and open above, the last one closed at both ends."""
    if high <= low:
        high = max(low + 1, math.nextafter(low, math.inf))
    counts = [0] * bins
    # In halves: the whole span of doubles is none.
    span = high / 2 - low / 2
    for value in values:
        place = int((value / 2 - low / 2) / span * bins) if span else 0
        counts[min(max(place, 0), bins - 1)] += 1
    edges = [low * (1 - n / bins) + high * (n / bins) for n in range(bins)] + [high]
    return Histogram(bins_of(edges, counts), low, high, is_whole)


def on_one_scale(found: Sequence[Histogram | None]) -> list[Histogram | None]:
    """The histograms of sets that are compared: a height is the share of its own set, and
    the largest share of all is the whole height."""
    shares = [_shares(each) if each else [] for each in found]
    peak = max((share for each in shares for share in each), default=0) or 1
    return [
        each
        and replace(
            each,
            bins=[
                replace(
                    bin_, height=round(max(100 * share / peak, 3), 1) if share else 0
                )
                for bin_, share in zip(each.bins, own, strict=True)
            ],
        )
        for each, own in zip(found, shares, strict=True)
    ]


def _shares(histogram: Histogram) -> list[float]:
    total = sum(each.count for each in histogram.bins) or 1
    return [each.count / total for each in histogram.bins]


def limits_of(found: Sequence[Histogram | None]) -> tuple[float, float] | None:
    """The ends that hold all of these; None when all have the same."""
    ends = {(each.low, each.high) for each in found if each}
    if len(ends) < 2:
        return None
    return min(low for low, _ in ends), max(high for _, high in ends)


def bins_of(edges: Sequence[Any], counts: Sequence[int]) -> list[Bin]:
    """A bin between each two edges; what is there at all can be seen."""
    peak = max(counts, default=0) or 1
    return [
        Bin(low, high, count, round(max(100 * count / peak, 3), 1) if count else 0)
        for low, high, count in zip(edges, edges[1:], counts, strict=False)
    ]
