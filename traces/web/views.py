"""The page of a trace: its spans as a waterfall."""

from __future__ import annotations

from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from inferences.store.token_prices import prices_for
from istore.web.pages import visible_project
from traces.tree import SPANS_MAX, read_trace
from traces.web.waterfall import Waterfall


@login_required
@require_safe
def trace(request: HttpRequest, project_id: str, trace_id: str) -> HttpResponse:
    """Render the spans of a trace, by time and by who called whom."""
    project = visible_project(request, project_id)
    found = read_trace(project, bytes.fromhex(trace_id))
    if found is None:
        raise Http404
    context = {
        "project": project,
        "trace": found,
        "waterfall": Waterfall.of(
            found, request.GET.get("span", ""), prices_for(project)
        ),
        "most": SPANS_MAX,
    }
    return render(request, "traces/trace.html", context)
