"""What all pages share: a partial for htmx, the whole page for every other request."""

from __future__ import annotations

from typing import Any, cast

from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.utils.cache import patch_vary_headers
from django.utils.http import url_has_allowed_host_and_scheme
from django_htmx.middleware import HtmxDetails

from istore.accounts.access import Caller, caller_of
from istore.models import Project, Role

THEMES = ("light", "dark")
THEME_COOKIE = "theme"
A_YEAR = 365 * 24 * 3600


class HtmxRequest(HttpRequest):
    """A request after the middleware of django-htmx."""

    htmx: HtmxDetails


def htmx_of(request: HttpRequest) -> HtmxDetails:
    """Return what htmx says about its request in the headers; false without htmx."""
    return cast(HtmxRequest, request).htmx


def render_page(
    request: HttpRequest,
    page: str,
    partial: str,
    context: dict[str, Any],
    status: int = 200,
) -> HttpResponse:
    """Return the partial if htmx swaps it in, else the page that contains it."""
    htmx = htmx_of(request)
    swapped = bool(htmx) and not htmx.boosted and not htmx.history_restore_request
    response = render(request, partial if swapped else page, context, status=status)
    # One URL has two responses: a cache must not serve one for the other.
    patch_vary_headers(response, ["HX-Request"])
    return response


def redirect_back(request: HttpRequest, address: str, otherwise: str) -> HttpResponse:
    """Redirect to an address that the request names if it is one of ours.

    ``django.shortcuts.redirect`` would take a word in it for the name of a view.
    """
    is_ours = url_has_allowed_host_and_scheme(address, {request.get_host()})
    return HttpResponseRedirect(address if is_ours else otherwise)


def visible_project(
    request: HttpRequest, project_id: str, role: Role = Role.VIEWER
) -> Project:
    """Return the project for a person with this role in it.

    Raises ``Http404`` if the person may not see it, and ``PermissionDenied`` if the role is lower.
    """
    caller = caller_of(request)
    project = caller.visible_projects().filter(project_id=project_id).first()
    if project is None:
        raise Http404
    require(caller, role, project)
    return project


def projects_in_view(request: HttpRequest) -> list[Project]:
    """Return the project that ``?project=`` names, or all that the person sees.

    Raises ``Http404`` for one that the person may not see.
    """
    if project_id := request.GET.get("project", ""):
        return [visible_project(request, project_id)]
    return list(caller_of(request).visible_projects())


def require(caller: Caller, role: Role, project: Project) -> None:
    """Raise ``PermissionDenied`` unless the caller has the role in the project."""
    if role != Role.VIEWER and not caller.may(role, project):
        raise PermissionDenied
