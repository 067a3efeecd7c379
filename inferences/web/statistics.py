"""The statistics page of a query, and of a second query to compare it with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, urlencode

from django.contrib.auth.decorators import login_required
from django.core.exceptions import ValidationError
from django.db import OperationalError
from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.shortcuts import render
from django.template.loader import render_to_string
from django.utils.safestring import SafeString
from django.views.decorators.http import require_safe

from inferences.models import RegisteredModel
from inferences.search import text
from inferences.search.filters import Filter
from inferences.search.filters.metadata import READERS
from inferences.search.statistics import (
    Statistics,
    StatisticsQuery,
    cold_statistics,
)
from inferences.web.access import visible_model
from inferences.web.view_models import summaries
from inferences.web.view_models.activity import count_in_time
from inferences.web.view_models.browsing import offer
from inferences.web.view_models.charts import (
    WHOLE_TYPES,
    Chart,
    Side,
    edges_of,
    in_key,
    in_scores,
    in_time,
    intersect,
    key_drag,
    list_address,
    of_label,
    of_value,
    score_drag,
    time_drag,
)
from inferences.web.view_models.histograms import Histogram, limits_of
from inferences.web.view_models.questions import Question, unknown_names
from inferences.web.view_models.sampling import sample
from inferences.web.view_models.stacks import STACKS, count_by
from inferences.web.view_models.volume import common_windows, volume, widen, window_of
from istore.db.replica import reads_replica
from istore.db.statement_timeout import statement_timeout
from istore.web.plots import Drag

OF_PAGE = ("vs", "of", "by", "part", "figures")
PARTS = ("volume", "labels", "scores", "latency", "key")


@login_required
@require_safe
@reads_replica
def statistics(request: HttpRequest, model_id: str) -> HttpResponse:
    """Render the page. Each panel fetches its own part, so that none waits for another.

    With ``figures=true`` all parts are in the response, for browsers without JavaScript.
    """
    model = visible_model(request, model_id)
    question = Question(request.GET)
    sides, problem = _sides(request, question)
    part = request.GET.get("part")
    if part is not None:
        if part not in PARTS:
            raise Http404
        if not sides:
            return HttpResponse(status=204)
        return HttpResponse(_figure(request, model, sides, part))
    key, type_ = _key(request)
    parts = PARTS if key else PARTS[:4]
    context = {
        "model": model,
        "question": question,
        "sides": sides,
        "problem": problem,
        "unknown": [n for n in unknown_names(request.GET) if n not in OF_PAGE],
        "vs": request.GET.get("vs", ""),
        "beside": _beside(request.GET.get("vs", ""), key, type_),
        "offer": offer(model),
        "key": key,
        "type": type_,
        "before": _before(model, question) if sides else "",
        "asked": _query_string(request),
        "parts": parts,
    }
    if sides and request.GET.get("figures") == "true":
        context["figures"] = [_figure(request, model, sides, part) for part in parts]
    return render(request, "inferences/statistics.html", context)


def _query_string(request: HttpRequest) -> str:
    """Return the query string with which the parts are fetched."""
    query = request.GET.copy()
    for name in ("part", "cursor", "figures"):
        query.pop(name, None)
    return f"?{query.urlencode()}"


def _beside(vs: str, key: str, type_: str) -> str:
    """Return what a link appends to keep the comparison and the metadata key."""
    compared = f"&vs={quote(vs, safe='')}" if vs else ""
    return f"{compared}&of={quote(key, safe='')}:{type_}" if key else compared


def _key(request: HttpRequest) -> tuple[str, str]:
    key, _, type_ = request.GET.get("of", "").rpartition(":")
    return (key, type_) if type_ in READERS else ("", "")


def _sides(request: HttpRequest, question: Question) -> tuple[list[Side], str]:
    """Return the sets to show, and a sentence if a query is not valid."""
    try:
        first = question.filters
    except ValidationError:
        return [], "; ".join(e for errors in question.errors.values() for e in errors)
    written = text.write(first)
    sides = [Side("everything" if written in ("", "*") else written, question)]
    vs = request.GET.get("vs", "").strip()
    if not vs:
        return sides, ""
    query = QueryDict(mutable=True)
    query["text"] = vs
    other = Question(query)
    try:
        return [*sides, Side(text.write(other.filters) or "everything", other)], ""
    except ValidationError:
        wrong = "; ".join(e for errors in other.errors.values() for e in errors)
        return sides, f"Compare with: {wrong}"


def _before(model: RegisteredModel, question: Question) -> str:
    """Return the query of the preceding time window of the same length, as text."""
    if question.query.get("since") is None:
        return ""
    since, until = widen(window_of(model, question))
    earlier = question.link(
        since=_moment(since - (until - since)), until=_moment(since)
    )
    return text.write(Question(QueryDict(earlier.removeprefix("?"))).filters)


def _moment(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _figure(
    request: HttpRequest, model: RegisteredModel, sides: list[Side], part: str
) -> SafeString:
    """Return the HTML of a panel, or a note that it takes too long."""
    context: dict[str, Any] = {
        "model": model,
        "sides": sides,
        "part": part,
        "most": summaries.TIMED,
    }
    try:
        context |= FOUND[part](request, model, sides)
    except OperationalError:
        context["is_slow"] = True
    return render_to_string(f"inferences/_statistics_{part}.html", context, request)


def _volume(
    request: HttpRequest, model: RegisteredModel, sides: list[Side]
) -> dict[str, Any]:
    with statement_timeout(summaries.EACH_SECONDS):
        drawn = [sample(model, each.filters) for each in sides]
    windows = common_windows(
        [
            window_of(model, each.question, newest)
            for each, newest in zip(sides, drawn, strict=True)
        ]
    )
    found = [
        volume(model, each.question, newest, window)
        for each, newest, window in zip(sides, drawn, windows, strict=True)
    ]
    by = request.GET.get("by", "") if len(sides) == 1 else ""
    stacks = None
    if by in STACKS and by and found[0]:
        stacks = count_by(model, sides[0].filters, edges_of(found[0]), by)
    chart = Chart(
        "Inferences over time",
        "time of the inference",
        in_bin=in_time,
        drag=_drag(
            found, lambda first: time_drag(sides, first, _other_parameters(request))
        ),
    )
    now = datetime.now(UTC)
    return {
        "counts": [
            (
                each,
                count_in_time(model, each.filters),
                list_address(model, each.filters),
            )
            for each in sides
        ],
        "plots": (
            [chart.draw_stacked(model, sides[0], found[0], stacks, now)]
            if stacks and found[0]
            else chart.draw_all(model, sides, found, now)
        ),
        "is_whole": all(each.is_whole for each in found if each),
        "is_estimate": any(each.is_estimate for each in found if each),
        "stacks": stacks,
        "stacked": by,
        "choices": [
            (title, _changed(request, by=name), name == by)
            for name, title in STACKS.items()
        ],
    }


def _changed(request: HttpRequest, **changes: str) -> str:
    """Return the query string of the page with these parameters; an empty one is left out."""
    query = QueryDict(_query_string(request).removeprefix("?"), mutable=True)
    for name, value in changes.items():
        query.pop(name, None)
        if value:
            query[name] = value
    return f"?{query.urlencode()}"


def _other_parameters(request: HttpRequest) -> str:
    """Return what a link that changes the queries appends to keep the rest of the page."""
    kept = {n: request.GET[n] for n in ("of", "by") if request.GET.get(n)}
    return f"&{urlencode(kept)}" if kept else ""


def _drag(
    found: Sequence[Histogram | None], drag: Callable[[Histogram], Drag]
) -> Drag | None:
    """Return the drag over histograms, if they have the same ends."""
    drawn = [each for each in found if each]
    alike = len({(each.low, each.high) for each in drawn}) == 1
    return drag(drawn[0]) if alike else None


def _labels(
    request: HttpRequest, model: RegisteredModel, sides: list[Side]
) -> dict[str, Any]:
    counted = [summaries.labels(model, side.filters) for side in sides]
    rows = summaries.compare(model, counted, summaries.LABELS_SHOWN)
    return {
        "rows": [(row, _lists(model, sides, of_label(row.name))) for row in rows],
        "is_whole": all(each.is_whole for each in counted),
    }


def _lists(model: RegisteredModel, sides: list[Side], of_row: Filter) -> list[str]:
    """Return the address of the inferences that a row counts, for each side."""
    return [list_address(model, intersect(each.filters, of_row)) for each in sides]


def _scores(
    request: HttpRequest, model: RegisteredModel, sides: list[Side]
) -> dict[str, Any]:
    found = [summaries.scores(model, side.filters) for side in sides]
    if limits := limits_of(found):
        found = [summaries.scores(model, s.filters, limits) for s in sides]
    chart = Chart(
        "How scores are distributed",
        "score",
        noun="scores",
        in_bin=in_scores,
        drag=_drag(
            found, lambda first: score_drag(sides, first, _other_parameters(request))
        ),
    )
    return {
        "plots": chart.draw_all(model, sides, found),
        "found": list(zip(sides, found, strict=True)),
        "is_whole": all(each.is_whole for each in found if each),
    }


def _latency(
    request: HttpRequest, model: RegisteredModel, sides: list[Side]
) -> dict[str, Any]:
    found = [summaries.latencies(model, side.filters) for side in sides]
    if limits := limits_of([each.model for each in found]):
        found = [summaries.latencies(model, s.filters, limits) for s in sides]
    chart = Chart(
        "How the time of the model is distributed", "time of the model, ms", "ms"
    )
    return {
        "found": list(zip(sides, found, strict=True)),
        "plots": chart.draw_all(model, sides, [each.model for each in found]),
        "percentiles": summaries.PERCENTILES,
    }


def _of_key(
    request: HttpRequest, model: RegisteredModel, sides: list[Side]
) -> dict[str, Any]:
    key, type_ = _key(request)
    if not key:
        raise Http404
    found = [summaries.of_key(model, side.filters, key, type_) for side in sides]
    drawn = [each.histogram if each else None for each in found]
    if limits := limits_of(drawn):
        found = [
            summaries.of_key(model, side.filters, key, type_, limits) for side in sides
        ]
        drawn = [each.histogram if each else None for each in found]
    chart = Chart(
        f"How {key} is distributed",
        key,
        is_whole=type_ in WHOLE_TYPES,
        in_bin=in_key(key, type_),
        drag=_drag(
            drawn,
            lambda first: key_drag(
                sides, first, key, type_, _other_parameters(request)
            ),
        ),
    )
    counted = [each.counted for each in found if each and each.counted]
    rows = summaries.compare(model, counted, summaries.VALUES_SHOWN)
    return {
        "key": key,
        "cold": _cold(model, sides[0], key, type_),
        "has_records": any(each and each.count for each in found),
        "rows": [
            (row, _lists(model, sides, of_value(key, type_, row.name)))
            for row in (rows if len(counted) == len(sides) else ())
        ],
        "found": list(zip(sides, found, strict=True)),
        "plots": chart.draw_all(model, sides, drawn),
        "is_whole": all(each.is_whole for each in found if each),
    }


def _cold(
    model: RegisteredModel, side: Side, key: str, type_: str
) -> Statistics | None:
    """Return what only the lake has of the time: the store has removed its records."""
    if type_ not in ("string", "int", "float"):
        return None
    return cold_statistics(model, StatisticsQuery(key, type_, side.filters))


FOUND = {
    "volume": _volume,
    "labels": _labels,
    "scores": _scores,
    "latency": _latency,
    "key": _of_key,
}
