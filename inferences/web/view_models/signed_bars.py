"""Small charts of signed bars, as coordinates for SVG: an embedding, numbers of an input, a volume."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

MOST_BARS = 96


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar of a plot."""

    x: float
    y: float
    height: float
    negative: bool = False


@dataclass(frozen=True, slots=True)
class Bars:
    """Bars one unit apart, in a box of ``width`` by 100 units; ``axis`` is the y of zero."""

    bars: list[Bar]
    axis: float

    @property
    def width(self) -> int:
        return max(len(self.bars), 1)


def bars(values: Sequence[float]) -> Bars:
    """Return signed bars; many values are averaged in groups of neighbours."""
    values = _thin(values)
    high, low = max(0.0, *values), min(0.0, *values)
    span = (high - low) or 1.0
    axis = 100 * high / span
    made = []
    for place, value in enumerate(values):
        height = max(100 * abs(value) / span, 0.8)
        top = axis if value < 0 else axis - height
        made.append(Bar(place, round(top, 2), round(height, 2), value < 0))
    return Bars(made, round(axis, 2))


def sparkline(counts: Sequence[int]) -> Bars:
    """Return counts as bars."""
    return bars([float(count) for count in counts] or [0.0, 0.0])


def _thin(values: Sequence[float]) -> list[float]:
    if len(values) <= MOST_BARS:
        return list(values) if len(values) > 1 else [*values, 0.0]
    edges = [len(values) * n // MOST_BARS for n in range(MOST_BARS + 1)]
    parts = [values[a:b] for a, b in itertools.pairwise(edges)]
    return [sum(part) / len(part) for part in parts]
