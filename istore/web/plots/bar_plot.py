"""Histograms: bars of one set, the outline of a second over them, or stacked parts."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from istore.web.plots.plot import Drag, Key, Mark, Now, Path, Plot, Shape
from istore.web.plots.ticks import (
    Tick,
    name_ticks,
    number_text,
    number_ticks,
    time_ticks,
)

GAP = 0.12  # of the width of a bar
LEAST = 1.2  # percent of the height of a bar that is not empty
ROOM = 1.05  # of the highest bar, so that it does not touch the frame
NARROW_TICKS = {"narrow": 3, "strip": 0}  # of the small shapes
NEAR_NOW = 0.02  # of the range: the last calls are some seconds old


@dataclass(frozen=True, slots=True)
class BinEdges:
    """The edges of equal bins: moments, or numbers with their unit."""

    values: Sequence[Any]
    unit: str = ""
    is_whole: bool = False

    @property
    def is_time(self) -> bool:
        return isinstance(self.values[0], datetime)

    def text(self, value: Any) -> str:
        """Return an edge as text for the tooltip."""
        if self.is_time:
            span = (self.values[-1] - self.values[0]).total_seconds()
            form = "%Y-%m-%d %H:%M" if span > 3600 else "%Y-%m-%d %H:%M:%S"
            return f"{value.astimezone(UTC):{form}}"
        return number_text(float(value))

    def range_text(self, place: int) -> str:
        """Return the range of a bin as text; one whole number stands for itself."""
        width = self.values[place + 1] - self.values[place]
        if self.is_whole and width == 1:
            return f"{self.text(self.values[place])} {self.unit}".rstrip()
        low, high = self.text(self.values[place]), self.text(self.values[place + 1])
        unit = " UTC" if self.is_time else f" {self.unit}" if self.unit else ""
        return f"{low} to {high}{unit}"

    def ticks(self, most: int = 6) -> list[Tick]:
        """Return the ticks of the axis; of numbers about ``most``."""
        low, high = self.values[0], self.values[-1]
        if self.is_time:
            return time_ticks(low, high)
        ticks = number_ticks(float(low), float(high), most, whole=self.is_whole)
        if not (self.is_whole and self.values[1] - low == 1):
            return ticks
        # Each bin holds one whole number, which stands in its middle.
        half = 50 / (len(self.values) - 1)
        return [replace(each, at=each.at + half) for each in ticks if each.at < 100]


@dataclass(frozen=True, slots=True)
class Names:
    """Categories in place of edges: each bin has a name."""

    values: Sequence[str]

    @property
    def is_time(self) -> bool:
        return False

    def range_text(self, place: int) -> str:
        """Return the name of a bin."""
        return self.values[place]

    def ticks(self, most: int = 0) -> list[Tick]:
        """Return the names, all of them, however many are wanted."""
        return name_ticks(self.values, len(self.values))


@dataclass(frozen=True, slots=True)
class Series:
    """Counts of one set, one for each bin. ``style`` is its CSS class, ``href`` its list."""

    name: str
    counts: Sequence[float]
    style: str
    href: str = ""

    @property
    def total(self) -> float:
        return sum(self.counts)

    @property
    def shares(self) -> list[float]:
        """The share of each count in the total."""
        return [count / (self.total or 1) for count in self.counts]


def bar_plot(
    edges: BinEdges | Names,
    series: Sequence[Series],
    *,
    label: str,
    x_title: str,
    noun: str = "inferences",
    is_stacked: bool = False,
    is_estimate: bool = False,
    link: Callable[[int], str] | None = None,
    drag: Drag | None = None,
    now: datetime | None = None,
    peak: float | None = None,
    shape: str = "",
) -> Plot:
    """Return a histogram with equal bins, or bars of categories.

    One series is drawn as bars of its counts. A second one is drawn as an outline over the
    first, both as shares of their own total on one scale, and the difference of the shares, in
    percentage points, below. Stacked series are parts of one count. ``link`` gives the address
    of the inferences in a bin. ``peak`` is the highest value of all plots that share a scale;
    one series alone is then drawn as shares, too. The ``shape`` ``narrow`` has few ticks and no
    axis of counts, as in a panel; ``strip`` has no axes.
    """
    compared = len(series) > 1 and not is_stacked
    as_shares = compared or peak is not None
    heights = [each.shares if as_shares else list(each.counts) for each in series]
    top = ROOM * (peak or _peak(heights, is_stacked) or 1)
    bars = heights if is_stacked else heights[:1]
    of = sum(each.total for each in series) if is_stacked else None
    slot = 100 / len(series[0].counts)
    marks = []
    for place, _ in enumerate(series[0].counts):
        column = [(s.style, h[place]) for s, h in zip(series, bars, strict=False)]
        is_empty = not any(each.counts[place] for each in series)
        marks.append(
            Mark(
                round(place * slot, 3),
                round(slot, 3),
                _stack(column, place, slot, top),
                [
                    edges.range_text(place),
                    *_count_lines(place, series, noun, of, is_estimate),
                ],
                link(place) if link and not is_empty else "",
            )
        )
    is_whole = all(float(v).is_integer() for each in heights for v in each)
    is_small = shape in NARROW_TICKS
    return Plot(
        label,
        x_title,
        "" if is_small else "share" if as_shares else noun,
        _x_ticks(edges, shape),
        [] if is_small else _y_ticks(top, as_shares, is_whole),
        marks,
        [Path(series[1].style, _outline(heights[1], top))] if compared else [],
        [Key(s.style, s.name, s.href) for s in series] if len(series) > 1 else [],
        drag,
        _now(edges, now),
        is_time=edges.is_time,
        below=_difference(edges, heights, series) if compared else None,
        shape=f"{shape} named".lstrip() if isinstance(edges, Names) else shape,
    )


def _x_ticks(edges: BinEdges | Names, shape: str) -> list[Tick]:
    if shape not in NARROW_TICKS:
        return edges.ticks()
    most = NARROW_TICKS[shape]
    return edges.ticks(most) if most else []


def _peak(heights: Sequence[Sequence[float]], is_stacked: bool) -> float:
    if is_stacked:
        return max((sum(each) for each in zip(*heights, strict=True)), default=0)
    return max((value for each in heights for value in each), default=0)


def _stack(
    column: Sequence[tuple[str, float]], place: int, slot: float, top: float
) -> list[Shape]:
    """Return the bars of one bin, one upon the other from the axis."""
    shapes, foot = [], 100.0
    for style, value in column:
        height = _height(value, top)
        if height:
            foot -= height
            shapes.append(_bar(style, place, slot, foot, height))
    return shapes


def _bar(style: str, place: int, slot: float, y: float, height: float) -> Shape:
    x = round((place + GAP / 2) * slot, 3)
    return Shape(style, x, round(y, 3), round((1 - GAP) * slot, 3), height)


def _height(value: float, top: float) -> float:
    return round(max(100 * value / top, LEAST), 3) if value > 0 else 0.0


def _y_ticks(top: float, as_shares: bool, whole: bool) -> list[Tick]:
    factor = 100 if as_shares else 1
    ticks = number_ticks(0.0, top * factor, 4, whole=whole)
    unit = " %" if as_shares else ""
    return [Tick(100 - each.at, each.text + unit) for each in ticks]


def _count_lines(
    place: int,
    series: Sequence[Series],
    noun: str,
    of: float | None,
    is_estimate: bool,
) -> list[str]:
    """Return the count of each series with its share: of ``of``, or else of the series."""
    about = "about " if is_estimate else ""
    lines = []
    for each in series:
        count = each.counts[place]
        if of is not None and not count:
            continue
        name = f"{each.name}: " if len(series) > 1 else ""
        unit = "" if name else f" {noun}"
        share = _percent(count, each.total if of is None else of)
        lines.append(f"{name}{about}{count:,.0f}{unit}, {share}")
    return lines


def _percent(count: float, total: float) -> str:
    share = 100 * count / total if total else 0
    return f"{share:.1f} %" if share >= 0.1 or not count else "< 0.1 %"


def _outline(heights: Sequence[float], top: float) -> str:
    """Return the steps of a histogram as a path, from the foot of the first to the last."""
    slot = 100 / len(heights)
    d = ["M0 100"]
    for place, value in enumerate(heights):
        y = round(100 - _height(value, top), 3)
        d.append(f"V{y:g}H{round((place + 1) * slot, 3):g}")
    return "".join([*d, "V100"])


def _difference(
    edges: BinEdges | Names,
    heights: Sequence[Sequence[float]],
    series: Sequence[Series],
) -> Plot:
    """Return the second share minus the first, in percentage points, as bars around zero."""
    points = [100 * (b - a) for a, b in zip(heights[0], heights[1], strict=True)]
    most = max((abs(each) for each in points), default=0) * ROOM or 1.0
    slot = 100 / len(points)
    marks = []
    for place, value in enumerate(points):
        height = round(50 * abs(value) / most, 3)
        y, style = (50 - height, "more") if value > 0 else (50.0, "less")
        bar = [_bar(style, place, slot, y, height)] if height else []
        lines = [edges.range_text(place), f"{value:+.1f} points"]
        marks.append(Mark(round(place * slot, 3), round(slot, 3), bar, lines))
    step = number_ticks(-most, most, 4)
    return Plot(
        f"{series[1].name} minus {series[0].name}, in percentage points",
        "",
        "points",
        [],
        [Tick(100 - each.at, each.text) for each in step],
        marks,
        zero=50.0,
        shape="low",
    )


def _now(edges: BinEdges | Names, now: datetime | None) -> Now | None:
    """Return the marker of the present, if it lies on the axis or just behind its end."""
    if now is None or isinstance(edges, Names) or not edges.is_time:
        return None
    low, high = edges.values[0], edges.values[-1]
    at = (now - low) / (high - low) if high > low else math.inf
    if not 0 <= at <= 1 + NEAR_NOW:
        return None
    return Now(round(100 * min(at, 1.0), 3))
