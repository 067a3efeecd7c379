"""The statistics page of a query, and of a second query to compare it with."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from django.contrib.auth.decorators import login_required
from django.core.exceptions import ValidationError
from django.db import OperationalError
from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.shortcuts import render
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.safestring import SafeString
from django.views.decorators.http import require_safe

from inferences.models import RegisteredModel
from inferences.search import text
from inferences.search.filters.metadata import READERS
from inferences.web.access import visible_model
from inferences.web.view_models import summaries
from inferences.web.view_models.activity import count_in_time
from inferences.web.view_models.browsing import offer
from inferences.web.view_models.histograms import limits_of, on_one_scale
from inferences.web.view_models.questions import Question, unknown_names
from inferences.web.view_models.sampling import sample
from inferences.web.view_models.volume import volume, window_of
from istore.db.statement_timeout import statement_timeout

OF_PAGE = ("vs", "of", "part", "figures")
PARTS = ("volume", "labels", "scores", "latency", "key")


@dataclass(frozen=True, slots=True)
class Side:
    """One of the sets that the page compares."""

    name: str
    question: Question


@login_required
@require_safe
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
    sides = [Side("everything" if written == "*" else written, question)]
    vs = request.GET.get("vs", "").strip()
    if not vs:
        return sides, ""
    query = QueryDict(mutable=True)
    query["text"] = vs
    other = Question(query)
    try:
        return [*sides, Side(text.write(other.filters), other)], ""
    except ValidationError:
        wrong = "; ".join(e for errors in other.errors.values() for e in errors)
        return sides, f"Compare with: {wrong}"


def _before(model: RegisteredModel, question: Question) -> str:
    """Return the query of the preceding time window of the same length, as text."""
    if question.query.get("since") is None:
        return ""
    since, until = window_of(model, question)
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
    found: list[dict[str, Any]] = []
    for side in sides:
        with statement_timeout(summaries.EACH_SECONDS):
            drawn = sample(model, side.question.filters)
        found.append(
            {
                "side": side,
                "volume": volume(model, side.question, drawn),
                "count": count_in_time(model, side.question.filters),
                "browse": reverse(
                    "inferences:browse", args=[model.project, model.model_id]
                )
                + side.question.context,
            }
        )
    if len(sides) > 1:
        volumes = on_one_scale([each["volume"] for each in found])
        for each, scaled in zip(found, volumes, strict=True):
            each["volume"] = scaled
    return {"found": found}


def _labels(
    request: HttpRequest, model: RegisteredModel, sides: list[Side]
) -> dict[str, Any]:
    counted = [summaries.labels(model, side.question.filters) for side in sides]
    rows = summaries.compare(model, counted, summaries.LABELS_SHOWN)
    return {"rows": rows, "is_whole": all(each.is_whole for each in counted)}


def _scores(
    request: HttpRequest, model: RegisteredModel, sides: list[Side]
) -> dict[str, Any]:
    found = [summaries.scores(model, side.question.filters) for side in sides]
    if limits := limits_of(found):
        found = [summaries.scores(model, s.question.filters, limits) for s in sides]
    if len(sides) > 1:
        found = on_one_scale(found)
    return {"found": list(zip(sides, found, strict=True))}


def _latency(
    request: HttpRequest, model: RegisteredModel, sides: list[Side]
) -> dict[str, Any]:
    found = [summaries.latencies(model, side.question.filters) for side in sides]
    if limits := limits_of([each.model for each in found]):
        found = [summaries.latencies(model, s.question.filters, limits) for s in sides]
    if len(sides) > 1:
        scaled = on_one_scale([each.model for each in found])
        found = [replace(each, model=m) for each, m in zip(found, scaled, strict=True)]
    return {
        "found": list(zip(sides, found, strict=True)),
        "percentiles": summaries.PERCENTILES,
    }


def _of_key(
    request: HttpRequest, model: RegisteredModel, sides: list[Side]
) -> dict[str, Any]:
    key, type_ = _key(request)
    if not key:
        raise Http404
    found = [
        summaries.of_key(model, side.question.filters, key, type_) for side in sides
    ]
    drawn = [each.histogram if each else None for each in found]
    if limits := limits_of(drawn):
        found = [
            summaries.of_key(model, side.question.filters, key, type_, limits)
            for side in sides
        ]
        drawn = [each.histogram if each else None for each in found]
    if len(sides) > 1:
        found = [
            each and replace(each, histogram=scaled)
            for each, scaled in zip(found, on_one_scale(drawn), strict=True)
        ]
    counted = [each.counted for each in found if each and each.counted]
    rows = summaries.compare(model, counted, summaries.VALUES_SHOWN)
    return {
        "key": key,
        "rows": rows if len(counted) == len(sides) else [],
        "found": list(zip(sides, found, strict=True)),
        "is_whole": all(each.is_whole for each in found if each),
    }


FOUND = {
    "volume": _volume,
    "labels": _labels,
    "scores": _scores,
    "latency": _latency,
    "key": _of_key,
}
