"""What every plot is made of. Positions are percentages; y grows downwards, as in SVG."""

from __future__ import annotations

from dataclasses import dataclass, field

from istore.web.plots.ticks import Tick


@dataclass(frozen=True, slots=True)
class Shape:
    """A bar or point of a mark; ``style`` is its CSS class."""

    style: str
    x: float
    y: float
    width: float = 0.0
    height: float = 0.0


@dataclass(frozen=True, slots=True)
class Mark:
    """What can be pointed at: a bin or a point, with its tooltip and what it opens.

    ``x`` and ``width`` are those of the stretch that answers to the pointer.
    """

    x: float
    width: float
    shapes: list[Shape]
    lines: list[str]
    href: str = ""

    @property
    def text(self) -> str:
        return "\n".join(self.lines)


@dataclass(frozen=True, slots=True)
class Path:
    """A line in a box of 100 by 100; ``style`` is its CSS class."""

    style: str
    d: str


@dataclass(frozen=True, slots=True)
class Key:
    """An entry of the legend."""

    style: str
    name: str
    href: str = ""


@dataclass(frozen=True, slots=True)
class Now:
    """A vertical line at ``at`` percent, with its name."""

    at: float
    name: str = "now"


@dataclass(frozen=True, slots=True)
class Drag:
    """A stretch that is drawn with the pointer opens ``address``, or fills two fields.

    In the address ``__low__`` and ``__high__`` stand for the ends, written as the ``kind`` (time,
    number, whole) says. ``fields`` are the ids or names of the two fields of the page's filters.
    """

    address: str
    low: str
    high: str
    kind: str
    fields: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Plot:
    """A plot with its axes. ``below`` is a second plot on the same x axis."""

    label: str
    x_title: str
    y_title: str
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    marks: list[Mark]
    paths: list[Path] = field(default_factory=list)
    legend: list[Key] = field(default_factory=list)
    drag: Drag | None = None
    now: Now | None = None
    zero: float = 100.0  # y of the axis from which bars rise
    is_time: bool = False
    below: Plot | None = None
    shape: str = ""  # CSS class of the figure: low, square, narrow, strip, names
