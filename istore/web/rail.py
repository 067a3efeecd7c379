"""The rail beside every page: where a person can go, and which project they look at.

Apps register their places. What a page costs for the rail is a few links: the projects to choose
from are asked for when the switcher is opened.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest
from django.urls import ResolverMatch, reverse
from django.utils.http import urlencode

from istore.hooks import Hook
from istore.models import Project


@dataclass(frozen=True, slots=True)
class Place:
    """A place of the rail. ``address`` takes the id of a project, or "" for all of them.

    ``routes`` are namespaces and names of URLs: a page of one of them lies at this place. A name
    says more than a namespace.
    """

    icon: str
    order: int
    address: Callable[[str], str]
    routes: Collection[str]
    is_of_staff: bool = False


places: Hook[Place] = Hook()  # by title


def _project_page(project_id: str) -> str:
    return reverse("members", args=[project_id]) if project_id else reverse("projects")


# Apps add the pages of theirs that are about a project itself, beside its models.
project_routes = {"projects", "new-project", "members", "tokens"}
places.register("Project", Place("people", 80, _project_page, project_routes))
places.register(
    "Operations",
    Place(
        "live",
        90,
        lambda project_id: reverse("operations"),
        ("operations", "verify-now"),
        is_of_staff=True,
    ),
)


@dataclass(frozen=True, slots=True)
class Link:
    title: str
    icon: str
    address: str
    mark: (
        str  # the value of aria-current: "page" on this very page, "true" at this place
    )


@dataclass(frozen=True, slots=True)
class Rail:
    """The links of the rail on one page, and the project that they and the page are about."""

    links: list[Link]
    project_id: str

    @property
    def menu_address(self) -> str:
        """Where the menu of projects is asked for, for the place of the page."""
        query = {"part": "menu", "at": self.current, "project": self.project_id}
        return f"{reverse('projects')}?{urlencode(query)}"

    @property
    def current(self) -> str:
        """The title of the place where the page lies; "" for a page of none."""
        return next((link.title for link in self.links if link.mark), "")


def named(route: str) -> Callable[[str], str]:
    """Return the addresses of a page that is of one project where ``project`` names it."""

    def address(project_id: str) -> str:
        query = f"?{urlencode({'project': project_id})}" if project_id else ""
        return reverse(route) + query

    return address


def draw_rail(request: HttpRequest, context: Any) -> Rail:
    """Return the rail of a page: ``context`` may have its ``project`` or ``model``."""
    project_id = _project_id(request, context)
    match = request.resolver_match
    is_staff = bool(request.user.is_staff)
    ordered = sorted(places.items(), key=lambda each: each[1].order)
    here = _place_of(match)
    links = []
    for title, place in ordered:
        if place.is_of_staff and not is_staff:
            continue
        address, mark = place.address(project_id), ""
        if place is here:
            mark = "page" if address == request.get_full_path() else "true"
        links.append(Link(title, place.icon, address, mark))
    return Rail(links, project_id)


def _project_id(request: HttpRequest, context: Any) -> str:
    project = context.get("project") or getattr(context.get("model"), "project", None)
    if isinstance(project, Project):
        return project.project_id
    return request.GET.get("project", "")[:255]


def _place_of(match: ResolverMatch | None) -> Place | None:
    """Return where a page lies; None for an error page and one of no place."""
    if match is None:
        return None
    if "model_id" in match.kwargs:  # whatever app it is of, it is a page of a model
        routes = ["inferences"]
    else:
        routes = [match.view_name, match.namespace]
    found = (
        each for route in routes for each in places.values() if route in each.routes
    )
    return next(found, None)
