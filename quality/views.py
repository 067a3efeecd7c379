"""The page of a model's quality, for the filter in its URL."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.core.exceptions import ValidationError
from django.db import OperationalError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from inferences.ground_truth.upsert import counts
from inferences.models import RegisteredModel
from inferences.search.filters import Filter
from inferences.web import visible_model
from inferences.web.view_models.questions import Question
from istore.db.replica import reads_replica
from istore.db.statement_timeout import statement_timeout
from quality import links, presentation
from quality.measuring import (
    INTERVALS,
    KEYS,
    TIME,
    Quality,
    QualityQuery,
    fitting_interval,
    measure,
)

GROUPS = {
    "": "no groups",
    "time": "time",
    **{name: name for name in KEYS},
}


@login_required
@require_safe
@reads_replica
def page(request: HttpRequest, model_id: str) -> HttpResponse:
    """Render the quality page of a model, or its figures alone."""
    model = visible_model(request, model_id)
    question = Question(request.GET)
    all_rows = request.GET.get("rows") == "all"
    first_rows = settings.ISTORE_QUALITY_PAGE_ROWS
    # Without a choice the main figure is shown over time, in steps that fit the data.
    is_trend = "group" not in request.GET
    group = TIME if is_trend else request.GET["group"]
    interval = request.GET.get("interval", "")
    if interval not in INTERVALS:
        interval = fitting_interval(model) if is_trend else "day"
    label = request.GET.get("curve", "")
    context: dict[str, Any] = {
        "model": model,
        "question": question,
        "groups": GROUPS,
        "intervals": INTERVALS,
        "group": group,
        "interval": interval,
        "is_trend": is_trend,
        "label": label,
        "asked": _query_string(request),
        "most": settings.ISTORE_QUALITY_ROWS if all_rows else first_rows,
        "may_look_at_more": not all_rows and first_rows < settings.ISTORE_QUALITY_ROWS,
    }
    is_part = request.GET.get("part") == "figures"
    template = "quality/_figures.html" if is_part else "quality/page.html"
    try:
        query = QualityQuery(
            filters=question.filters,
            group_by=group or None,
            interval=interval,
            label=label or None,
            limit=None if all_rows else first_rows,
        )
        # The page is sent at once, and htmx then fetches the figures; a link does without scripts.
        if is_part or request.GET.get("figures") == "true":
            context |= _show(model, question.filters, query, measure(model, query))
            context["counts"] = _counts(model)
    except (ValidationError, ValueError) as error:
        context["problem"] = " ".join(getattr(error, "messages", [str(error)]))
        # htmx swaps a fragment into the page only with a 2xx status, so errors are 200 too.
        return render(request, template, context, status=200 if is_part else 400)
    except OperationalError:
        context["problem"] = "This takes too long: narrow the filter."
        return render(request, template, context, status=200 if is_part else 422)
    return render(request, template, context)


def _query_string(request: HttpRequest) -> str:
    """Return the query string of the figures, to which parameters can be appended."""
    query = request.GET.copy()
    for name in ("part", "figures"):
        query.pop(name, None)
    return f"{query.urlencode()}&" if query else ""


def _counts(model: RegisteredModel) -> dict[str, int] | None:
    try:
        with statement_timeout():
            return counts(model)
    except OperationalError:
        return None


def _show(
    model: RegisteredModel, filters: Filter, query: QualityQuery, quality: Quality
) -> dict[str, Any]:
    figures = quality.figures
    group = query.group_by or ""
    return {
        "quality": quality,
        "tiles": presentation.tiles(figures),
        "columns": presentation.columns(figures),
        "rows": presentation.label_rows(figures),
        "heat": figures.confusion
        and presentation.heat_rows(
            figures.confusion,
            lambda actual, answer: links.confusion_address(
                model, filters, actual, answer
            ),
        ),
        "curve": figures.curve and presentation.curve_plot(figures.curve),
        "line": presentation.group_plot(
            quality,
            group,
            lambda name: links.group_address(model, filters, query, name),
        ),
        "group_columns": [
            (name, presentation.TITLES[name][0])
            for name in figures.overall
            if name in presentation.TITLES
        ][:6],
    }
