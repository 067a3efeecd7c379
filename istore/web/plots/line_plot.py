"""A figure over moments or over a number as a line, over categories as columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from istore.web.plots.plot import Mark, Path, Plot, Shape
from istore.web.plots.ticks import Tick, name_ticks, number_ticks, time_ticks

ROOM = 1.05
COLUMN = 0.7  # of the width of a category
NAMES_MOST = 12  # categories of which each has its name below


@dataclass(frozen=True, slots=True)
class Point:
    """A value at ``x``: a moment, a number or the name of a category."""

    x: datetime | float | str
    y: float
    lines: list[str]
    href: str = ""


def line_plot(
    points: Sequence[Point],
    *,
    label: str,
    x_title: str,
    y_title: str,
    low: float = 0.0,
    high: float | None = None,
    shape: str = "",
    x_range: tuple[float, float] | None = None,
) -> Plot:
    """Return the plot of at least one point, in the order given.

    Values lie between ``low`` and ``high``, or the largest value where it is None. Names are
    not ordered: no line is drawn between them. A strip has no ticks.
    """
    least = min(low, *(each.y for each in points))
    most = max(each.y for each in points) * ROOM if high is None else high
    most = max(most, *(each.y for each in points))
    span = (most - least) or 1.0
    y_of = [round(100 - 100 * (each.y - least) / span, 3) for each in points]
    zero = round(100 + 100 * least / span, 3)
    y_ticks = [
        Tick(100 - each.at, each.text) for each in number_ticks(least, least + span, 4)
    ]
    first = points[0].x
    is_time = isinstance(first, datetime)
    if isinstance(first, str):
        marks, x_ticks = _columns(points, y_of, zero)
        paths = []
        shape = f"{shape} names".lstrip()  # slanted where the page has little room
    else:
        places, x_ticks = _places(points, x_range)
        marks = _dots(points, places, y_of)
        line = "L".join(f"{x:g} {y:g}" for x, y in zip(places, y_of, strict=True))
        paths = [Path("line", f"M{line}")]
    if shape == "strip":
        x_ticks, y_ticks = [], []
    return Plot(
        label,
        x_title,
        y_title,
        x_ticks,
        y_ticks,
        marks,
        paths,
        zero=min(zero, 100.0),
        is_time=is_time,
        shape=shape,
    )


def _columns(
    points: Sequence[Point], y_of: Sequence[float], zero: float
) -> tuple[list[Mark], list[Tick]]:
    slot = 100 / len(points)
    marks = []
    for place, (point, y) in enumerate(zip(points, y_of, strict=True)):
        top, foot = sorted((y, zero))
        column = Shape(
            "side-0",
            round((place + (1 - COLUMN) / 2) * slot, 3),
            top,
            round(COLUMN * slot, 3),
            round(max(foot - top, 0.5), 3),
        )
        marks.append(
            Mark(
                round(place * slot, 3),
                round(slot, 3),
                [column],
                point.lines,
                point.href,
            )
        )
    return marks, name_ticks([str(point.x) for point in points], NAMES_MOST)


def _places(
    points: Sequence[Point], x_range: tuple[float, float] | None
) -> tuple[list[float], list[Tick]]:
    """Return the x of each point, and the ticks."""
    values = [each.x for each in points]
    moments = [each for each in values if isinstance(each, datetime)]
    if moments:
        low, high = moments[0], moments[-1]
        span = (high - low).total_seconds() or 1.0
        places = [100 * (each - low).total_seconds() / span for each in moments]
        ticks = time_ticks(low, high)
    else:
        numbers = [float(each) for each in values if isinstance(each, int | float)]
        first, last = x_range or (min(numbers), max(numbers))
        width = (last - first) or 1.0
        places = [100 * (each - first) / width for each in numbers]
        ticks = number_ticks(first, last, 5)
    return [round(each, 3) for each in places], ticks


def _dots(
    points: Sequence[Point], places: Sequence[float], y_of: Sequence[float]
) -> list[Mark]:
    """Return a mark for each point, which answers up to half way to its neighbours."""
    marks = []
    for n, (point, x, y) in enumerate(zip(points, places, y_of, strict=True)):
        left = (places[n - 1] + x) / 2 if n else x - 2
        right = (places[n + 1] + x) / 2 if n + 1 < len(places) else x + 2
        dot = Shape("dot", x, y)
        marks.append(
            Mark(
                round(left, 3),
                round(max(right - left, 0.2), 3),
                [dot],
                point.lines,
                point.href,
            )
        )
    return marks
