"""The timeline of an inference: its five times, and the steps between them."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.utils.dateparse import parse_datetime

MOMENTS = ("received", "forwarded", "responded", "published", "indexed")
STEPS = {
    "forwarded": "Proxy",
    "responded": "Model",
    "published": "Capture",
    "indexed": "Listener",
}
LEAST_SHARE = 7.0  # percent of the bar; narrower steps are hard to see and point at


@dataclass(frozen=True, slots=True)
class Step:
    """A step from the time before to this one; ``x`` and ``width`` in percent of the bar."""

    name: str
    moment: str
    at: datetime
    took: timedelta | None
    x: float = 0
    width: float = 0


@dataclass(frozen=True, slots=True)
class Timeline:
    """The timeline of one inference."""

    steps: list[Step]
    total: timedelta
    model: timedelta | None


def timeline(notes: Mapping[str, Any] | None) -> Timeline | None:
    """Return the timeline; None if fewer than two times are known."""
    times = (notes or {}).get("times")
    if not isinstance(times, dict):
        return None
    known = [(name, at) for name in MOMENTS if (at := _moment(times.get(name)))]
    if len(known) < 2:
        return None
    took = [b - a for (_, a), (_, b) in itertools.pairwise(known)]
    widths = _widths([max(length.total_seconds(), 0) for length in took])
    steps, x = [], 0.0
    for (name, at), length, width in zip(
        known, [None, *took], [0.0, *widths], strict=True
    ):
        steps.append(Step(STEPS.get(name, ""), name, at, length, round(x, 2), width))
        x += width
    model = next((step.took for step in steps if step.moment == "responded"), None)
    return Timeline(steps, known[-1][1] - known[0][1], model)


def _widths(seconds: list[float]) -> list[float]:
    """Return the widths in proportion, each at least ``LEAST_SHARE``."""
    total = sum(seconds) or 1.0
    room = 100 - LEAST_SHARE * len(seconds)
    return [round(LEAST_SHARE + room * second / total, 2) for second in seconds]


def _moment(text: Any) -> datetime | None:
    try:
        found = parse_datetime(text) if isinstance(text, str) else None
    except ValueError:
        return None
    return found if found and found.tzinfo else None
