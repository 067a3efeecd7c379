"""Histograms of a model's inferences as plots: each bin opens what it counts.

A stretch that is drawn with the pointer narrows the page's own queries, all sides alike.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from django.urls import reverse

from inferences.models import RegisteredModel
from inferences.search import text
from inferences.search.filters import (
    DetectionFilter,
    Filter,
    InferenceFilter,
    MetadataFilter,
    TimeWindow,
)
from inferences.search.filters.intersection import all_of
from inferences.search.filters.words import number
from inferences.web.view_models.histograms import Histogram
from inferences.web.view_models.questions import Question
from inferences.web.view_models.stacks import Stacks
from istore.json_text import format_moment
from istore.web.plots import BinEdges, Drag, Plot, Series, bar_plot

MICROSECOND = timedelta(microseconds=1)
STRETCH = ("__low__", "__high__")  # for which the page's script puts the ends of a drag
WHOLE_TYPES = ("int", "json.int")
# What a bin [low, high) of a histogram asks for; the last one includes its end.
BinFilter = Callable[[Any, Any, bool], Filter]


@dataclass(frozen=True, slots=True)
class Side:
    """One of the sets that a page shows or compares: its name, and what it holds."""

    name: str
    question: Question

    @property
    def filters(self) -> Filter:
        return self.question.filters


def list_address(model: RegisteredModel, filters: Filter) -> str:
    """Return the address of the list of the inferences that pass the filter."""
    written = text.write(filters)
    address = reverse("inferences:browse", args=[model.project, model.model_id])
    return address if written in ("", "*") else f"{address}?{urlencode({'q': written})}"


def in_time(low: datetime, high: datetime, is_last: bool) -> Filter:
    """Return the filter of a bin of time, whose ends a window both includes."""
    end = high if is_last else high - MICROSECOND
    return InferenceFilter(time_window=TimeWindow(low, end))


def in_scores(low: float, high: float, is_last: bool) -> Filter:
    """Return the filter of a bin of scores."""
    within = DetectionFilter(minimum_score=low, maximum_score=high)
    if not is_last:
        within = DetectionFilter(minimum_score=low, below_score=high)
    return InferenceFilter(detections=within)


def in_key(key: str, type_: str) -> BinFilter:
    """Return the filter of a bin of a key's numbers."""
    is_whole = type_ in WHOLE_TYPES

    def in_bin(low: float, high: float, is_last: bool) -> Filter:
        if is_whole:  # for whole numbers, >= 2.5 is the same as >= 3
            low, high = math.ceil(low), math.floor(high) if is_last else math.ceil(high)
        first = MetadataFilter(key, type_, ">=", number(low))
        last = MetadataFilter(key, type_, "<=" if is_last else "<", number(high))
        return InferenceFilter(metadata=(first, last))

    return in_bin


def of_label(name: str) -> Filter:
    """Return the filter of inferences with a label."""
    return InferenceFilter(detections=DetectionFilter((name,)))


def of_value(key: str, type_: str, value: str) -> Filter:
    """Return the filter of inferences with a value of a key."""
    return InferenceFilter(metadata=(MetadataFilter(key, type_, "=", value),))


def intersect(filters: Filter, narrower: Filter) -> Filter:
    """Return the filter of both. Two windows of time, which overlap, become the one they share."""
    match filters, narrower:
        case InferenceFilter(), InferenceFilter(time_window=TimeWindow() as window):
            windows = [window, filters.time_window or window]
            start = max(each.start for each in windows)
            end = min((each.end for each in windows if each.end), default=None)
            return replace(filters, time_window=TimeWindow(start, end))
    return all_of([filters, narrower])


def address_within(queries: Sequence[Filter], term: str, beside: str) -> str:
    """Return the address of this page for a stretch, in which the term stands for its ends."""
    written = [text.write(each) for each in queries]
    asked = [term if each in ("", "*") else f"({each}) {term}" for each in written]
    names = ("text", "vs")
    return f"?{urlencode(dict(zip(names, asked, strict=False)))}{beside}"


@dataclass(frozen=True, slots=True)
class Chart:
    """What the histograms of one quantity have in common."""

    label: str
    x_title: str
    unit: str = ""
    noun: str = "inferences"
    is_whole: bool = False
    in_bin: BinFilter | None = None
    drag: Drag | None = None

    def draw(
        self,
        model: RegisteredModel,
        sides: Sequence[Side],
        found: Sequence[Histogram],
        now: datetime | None = None,
        peak: float | None = None,
        first: int = 0,
    ) -> Plot:
        """Return the plot of one histogram, or of two with the same edges.

        ``first`` is the number of the first side, which decides the colours.
        """
        edges = edges_of(found[0])
        series = [
            Series(
                "AB"[n] if len(sides) > 1 else side.name,
                [each.count for each in histogram.bins],
                f"side-{n}",
                list_address(model, side.filters),
            )
            for n, (side, histogram) in enumerate(zip(sides, found, strict=True), first)
        ]

        return bar_plot(
            BinEdges(edges, self.unit, self.is_whole),
            series,
            label=self.label,
            x_title=self.x_title,
            noun=self.noun,
            is_estimate=any(each.is_estimate for each in found),
            link=self._link(model, sides[0], edges),
            drag=self.drag,
            now=now,
            peak=peak,
        )

    def draw_stacked(
        self,
        model: RegisteredModel,
        side: Side,
        found: Histogram,
        stacks: Stacks,
        now: datetime | None = None,
    ) -> Plot:
        """Return the plot of one side with its parts upon each other."""
        edges = edges_of(found)
        return bar_plot(
            BinEdges(edges),
            [Series(part.name, part.counts, part.style) for part in stacks.parts],
            label=self.label,
            x_title=self.x_title,
            noun=stacks.noun,
            is_stacked=True,
            link=self._link(model, side, edges),
            drag=self.drag,
            now=now,
        )

    def _link(
        self, model: RegisteredModel, side: Side, edges: Sequence[Any]
    ) -> Callable[[int], str] | None:
        in_bin = self.in_bin
        if in_bin is None:
            return None

        def link(place: int) -> str:
            is_last = place == len(edges) - 2
            narrower = in_bin(edges[place], edges[place + 1], is_last)
            return list_address(model, intersect(side.filters, narrower))

        return link

    def draw_all(
        self,
        model: RegisteredModel,
        sides: Sequence[Side],
        found: Sequence[Histogram | None],
        now: datetime | None = None,
    ) -> list[Plot]:
        """Return one plot of all sides where they have the same edges, else one for each.

        Those share a scale of shares.
        """
        drawn = [(n, each) for n, each in enumerate(found) if each]
        histograms = [each for _, each in drawn]
        if not drawn:
            return []
        if len({(each.low, each.high, len(each.bins)) for each in histograms}) == 1:
            kept = [sides[n] for n, _ in drawn]
            return [self.draw(model, kept, histograms, now, first=drawn[0][0])]
        peak = peak_share(histograms)
        return [self.draw(model, [sides[n]], [h], now, peak, n) for n, h in drawn]


def edges_of(histogram: Histogram) -> list[Any]:
    """Return the edges of the bins, one more than there are bins."""
    return [each.low for each in histogram.bins] + [histogram.bins[-1].high]


def peak_share(found: Sequence[Histogram]) -> float:
    """Return the largest share that a bin has in its own histogram, of several histograms."""
    return max(
        (
            bin_.count / (sum(other.count for other in each.bins) or 1)
            for each in found
            for bin_ in each.bins
        ),
        default=0,
    )


def time_drag(sides: Sequence[Side], found: Histogram, beside: str) -> Drag:
    """Return what a stretch of time asks for."""
    low, high = STRETCH
    queries = [_at_any_time(each.filters) for each in sides]
    address = address_within(queries, f"since:{low} until:{high}", beside)
    return Drag(address, format_moment(found.low), format_moment(found.high), "time")


def score_drag(sides: Sequence[Side], found: Histogram, beside: str) -> Drag:
    """Return what a stretch of scores asks for."""
    return _number_drag(sides, found, "score", "number", beside)


def key_drag(
    sides: Sequence[Side], found: Histogram, key: str, type_: str, beside: str
) -> Drag:
    """Return what a stretch of a key's numbers asks for."""
    # The words before the comparison, as a text query has them.
    term, _, _ = text.write(MetadataFilter(key, type_, ">=", "0")).rpartition(">=")
    kind = "whole" if type_ in WHOLE_TYPES else "number"
    return _number_drag(sides, found, term, kind, beside)


def _number_drag(
    sides: Sequence[Side], found: Histogram, term: str, kind: str, beside: str
) -> Drag:
    low, high = STRETCH
    queries = [each.filters for each in sides]
    address = address_within(queries, f"({term}>={low} {term}<={high})", beside)
    return Drag(address, repr(float(found.low)), repr(float(found.high)), kind)


def _at_any_time(filters: Filter) -> Filter:
    if isinstance(filters, InferenceFilter):
        return replace(filters, time_window=None)
    return filters
