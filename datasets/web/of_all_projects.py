"""The datasets of all projects that a person may see."""

from __future__ import annotations

from django.contrib.auth.decorators import login_required
from django.db.models import Count
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_safe

from datasets.models import Dataset
from istore.web.pages import projects_in_view

SHOWN = 200


@login_required
@require_safe
def overview(request: HttpRequest) -> HttpResponse:
    """List the datasets by project; of one project it is that project's own page."""
    projects = projects_in_view(request)
    if len(projects) == 1:
        return redirect("datasets:datasets", projects[0].project_id)
    live = Dataset.objects.live().filter(project__in=projects)
    found = live.annotate(versions_count=Count("versions")).order_by("-updated_at")
    shown = list(found[: SHOWN + 1])
    context = {
        "groups": [
            (project, [each for each in shown[:SHOWN] if each.project_id == project.pk])
            for project in projects
        ],
        "is_cut": len(shown) > SHOWN,
        "most": SHOWN,
    }
    return render(request, "datasets/overview.html", context)
