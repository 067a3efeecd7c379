"""What all pages share: the partial for htmx, the page for everyone else."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.cache import patch_vary_headers

from istore.accounts.access import Caller, caller_of
from istore.models import Project, Role

THEMES = ("light", "dark")
THEME_COOKIE = "theme"
A_YEAR = 365 * 24 * 3600


def render_page(
    request: HttpRequest,
    page: str,
    partial: str,
    context: dict[str, Any],
    status: int = 200,
) -> HttpResponse:
    """The partial when htmx swaps it in, else the page that frames it."""
    htmx = request.htmx
    swapped = bool(htmx) and not htmx.boosted and not htmx.history_restore_request
    response = render(request, partial if swapped else page, context, status=status)
    # One address, two answers: a cache must not give one for the other.
    patch_vary_headers(response, ["HX-Request"])
    return response


def visible_project(
    request: HttpRequest, project_id: str, role: Role = Role.VIEWER
) -> Project:
    """The project, for a person with this role in it; a 404 for who may not see it."""
    caller = caller_of(request)
    project = caller.visible_projects().filter(project_id=project_id).first()
    if project is None:
        raise Http404
    require(caller, role, project)
    return project


def require(caller: Caller, role: Role, project: Project) -> None:
    if role != Role.VIEWER and not caller.may(role, project):
        raise PermissionDenied
