"""The pages of traces: their list, and one as a waterfall of its spans."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.decorators import login_required
from django.db import OperationalError
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_safe

from inferences.store.token_prices import prices_for
from istore.db.statement_timeout import statement_timeout
from istore.errors import Invalid
from istore.web.pages import projects_in_view, render_page, visible_project
from traces.listing import list_traces
from traces.tree import SPANS_MAX, read_trace
from traces.web.forms import TraceForm
from traces.web.parts import Part
from traces.web.waterfall import Waterfall


@login_required
@require_safe
def overview(request: HttpRequest) -> HttpResponse:
    """Lead to the traces of one project; of several, to each."""
    projects = projects_in_view(request)
    if len(projects) == 1:
        return redirect("traces:traces", projects[0].project_id)
    return render(request, "traces/overview.html", {"projects": projects})


@login_required
@require_safe
def traces(request: HttpRequest, project_id: str) -> HttpResponse:
    """Render the traces of a project that the form asks for, newest first, some at a time."""
    project = visible_project(request, project_id)
    form = TraceForm(request.GET, project)
    kept = request.GET.copy()
    kept.pop("cursor", None)
    context: dict[str, Any] = {"project": project, "form": form}
    context["kept"] = kept.urlencode()
    context["is_filtered"] = any(kept.values())
    if form.is_valid():
        try:
            with statement_timeout():
                query = form.query(request.GET.get("cursor", ""))
                context["page"] = list_traces(project, query)
        except Invalid:
            context["problem"] = "This link leads to no page of the list."
        except OperationalError:
            context["problem"] = "Finding the traces takes too long: narrow the time."
    status = 200 if "page" in context else 400
    page, partial = "traces/traces.html", "traces/_rows.html"
    return render_page(request, page, partial, context, status)


@login_required
@require_safe
def trace(request: HttpRequest, project_id: str, trace_id: str) -> HttpResponse:
    """Render the spans of a trace, by time and by who called whom, some at a time."""
    project = visible_project(request, project_id)
    with statement_timeout():
        found = read_trace(project, bytes.fromhex(trace_id))
    if found is None:
        raise Http404
    marked = request.GET.get("span", "")
    part = Part.of(found, request.GET.get("part", ""), marked)
    context = {
        "project": project,
        "trace": found,
        "part": part,
        "waterfall": Waterfall.of(found, marked, prices_for(project), part),
        "most": SPANS_MAX,
    }
    return render(request, "traces/trace.html", context)
