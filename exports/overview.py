"""The exports of all models that a person may see, or of those of one project."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.http import urlencode
from django.views.decorators.http import require_safe

from exports.models import ExportTask
from istore.accounts.access import caller_of
from istore.tasks.pages import list_context
from istore.web.pages import visible_project


@login_required
@require_safe
def overview(request: HttpRequest) -> HttpResponse:
    """List exports, newest first."""
    context: dict[str, Any] = {}
    if project_id := request.GET.get("project", ""):
        context["project"] = visible_project(request, project_id)
        projects = [context["project"]]
    else:
        projects = list(caller_of(request).visible_projects())
    tasks = ExportTask.objects.filter(model__project__in=projects)
    context |= list_context(request, tasks.select_related("model__project"))
    given = {"project": project_id, "state": context["state"]}
    context["of_project"] = urlencode({"project": project_id}) if project_id else ""
    context["kept"] = urlencode({n: value for n, value in given.items() if value})
    return render(request, "exports/overview.html", context)
