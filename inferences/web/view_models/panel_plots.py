"""The plots of the filter panel and the strip over a list: each bin opens what it counts.

A stretch that is drawn with the pointer is written into the two fields of the panel that it names.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

from django.urls import reverse

from inferences.models import RegisteredModel
from inferences.search import text
from inferences.search.filters import Filter, InferenceFilter
from inferences.web.view_models.charts import (
    WHOLE_TYPES,
    BinFilter,
    edges_of,
    in_key,
    in_scores,
    in_time,
    intersect,
)
from inferences.web.view_models.facets import Facets, KeyFacet
from inferences.web.view_models.histograms import Histogram
from inferences.web.view_models.questions import Question
from istore.json_text import format_moment
from istore.web.plots import BinEdges, Drag, Plot, Series, bar_plot


def score_plot(
    model: RegisteredModel, question: Question, facets: Facets
) -> Plot | None:
    """Return how the scores are distributed; None if there are none."""
    found = facets.scores
    if found is None:
        return None
    drag = _drag(found, "number", ("min_score", "max_score"))
    without = question.filters_without("min_score", "max_score", "label")
    labels = tuple(question.labels) or None

    def in_bin(low: float, high: float, is_last: bool) -> Filter:
        # With labels the scores are those of their detections.
        scored = in_scores(low, high, is_last)
        assert isinstance(scored, InferenceFilter) and scored.detections
        return InferenceFilter(detections=replace(scored.detections, labels=labels))

    return _plot(
        found,
        "How scores are distributed. Drag to choose a range.",
        drag,
        _link(model, question, without, found, in_bin),
        noun="scores",
    )


def volume_plot(
    model: RegisteredModel, question: Question, facets: Facets
) -> Plot | None:
    """Return the volume over time as a strip without axes; None if nothing matches."""
    found = facets.volume
    if found is None:
        return None
    low, high = format_moment(found.low), format_moment(found.high)
    return _plot(
        found,
        "Volume over time. Drag to choose a window.",
        Drag("", low, high, "time", ("since", "until")),
        _link(model, question, question.filters, found, in_time),
        shape="strip",
    )


def key_plot(
    model: RegisteredModel, question: Question, facet: KeyFacet
) -> Plot | None:
    """Return how the numbers of a key are distributed; None for texts and without values."""
    found = facet.histogram
    if found is None:
        return None
    is_whole = facet.type in WHOLE_TYPES
    fields = (f"from:{facet.key}:{facet.type}", f"to:{facet.key}:{facet.type}")
    without = question.filters_without(key=(facet.key, facet.type))
    return _plot(
        found,
        f"How the values of {facet.key} are distributed. Drag to choose a range.",
        _drag(found, "whole" if is_whole else "number", fields),
        _link(model, question, without, found, in_key(facet.key, facet.type)),
        is_whole=is_whole,
    )


def _drag(found: Histogram, kind: str, fields: tuple[str, str]) -> Drag:
    return Drag("", repr(float(found.low)), repr(float(found.high)), kind, fields)


def _plot(
    found: Histogram,
    label: str,
    drag: Drag,
    link: Callable[[int], str],
    *,
    noun: str = "inferences",
    is_whole: bool = False,
    shape: str = "narrow",
) -> Plot:
    return bar_plot(
        BinEdges(edges_of(found), is_whole=is_whole),
        [Series("", [each.count for each in found.bins], "side-0")],
        label=label,
        x_title="",
        noun=noun,
        is_estimate=found.is_estimate,
        link=link,
        drag=drag,
        shape=shape,
    )


def _link(
    model: RegisteredModel,
    question: Question,
    filters: Filter,
    found: Histogram,
    in_bin: BinFilter,
) -> Callable[[int], str]:
    """Return the address of the list narrowed to a bin; how it is shown stays."""
    here = reverse("inferences:browse", args=[model.project, model.model_id])
    edges: list[Any] = edges_of(found)

    def link(place: int) -> str:
        is_last = place == len(edges) - 2
        narrower = in_bin(edges[place], edges[place + 1], is_last)
        written = text.write(intersect(filters, narrower))
        return f"{here}?{urlencode([('q', written), *question.layout])}"

    return link
