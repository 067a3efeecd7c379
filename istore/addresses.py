"""URL paths that name a project and a model, in the API and on pages.

The id of a model is unique within its project. ``models/<id>/…`` is the model of that id that
the caller may see; ``projects/<project>/models/<id>/…`` is that of one project. A token belongs
to one project, so the short form is enough for programs. A member of several projects that
have a model of the id gets the error ``AmbiguousModel``, which lists them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any
from urllib.parse import quote, unquote_to_bytes

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import URLPattern, re_path

from istore.errors import Conflict

# An id may contain a slash. An unescaped slash is matched as a separator first, and as part
# of an id last; an escaped one belongs to the id. WSGI decodes both alike, so ``decode_path``
# writes an escaped one as this control character, which no id may contain; ``NamedProject``
# turns it back into a slash. In a link made from such a path it means the same.
ESCAPED_SLASH = "\x1f"
# Where programs send spans, with a token as Bearer or as the password of Basic authentication.
TELEMETRY = ("/v1/traces", "/api/public/otel/v1/traces")
NAMED_PROJECT = "istore.named_project"  # in the META of a request
MODEL = r"models/(?P<model_id>.+?)"
INFERENCE = rf"{MODEL}/inferences/(?P<inference_id>.+?)"
# For pages. These routes come after all routes of models, so a path that can be read as a page
# of a model is one, such as "projects/a/models/x/datasets/inferences".
PROJECT = r"projects/(?P<project_id>.+?)"
# For the API, where the path of a model has no last part that tells it from a project's.
API_PROJECT = r"projects/(?P<project_id>(?:(?!/models/).)+?)"

_ANY_MODEL = r"^models/(?P<model_id>"
_OF_PROJECT = r"^projects/(?P<project_id>.+?)/models/(?P<model_id>"


def decode_path(raw_path: bytes) -> bytes:
    """Return the decoded path of a request, with escaped slashes as ``ESCAPED_SLASH``."""
    slash = b"%%%02X" % ord(ESCAPED_SLASH)
    return unquote_to_bytes(raw_path.replace(b"%2F", slash).replace(b"%2f", slash))


def also_in_projects(routes: Sequence[URLPattern]) -> list[URLPattern]:
    """Return the routes, and each route of a model a second time below its project.

    Both have one name: ``reverse`` takes the second form when a project is given first.
    """
    return [*(_in_project(route) for route in routes if _is_of_model(route)), *routes]


def _is_of_model(route: URLPattern) -> bool:
    return str(route.pattern).startswith(_ANY_MODEL)


def _in_project(route: URLPattern) -> URLPattern:
    rest = str(route.pattern).removeprefix(_ANY_MODEL)
    return re_path(_OF_PROJECT + rest, route.callback, route.default_args, route.name)


def readings(project_id: str, model_id: str) -> Iterator[tuple[str, str]]:
    """Yield each (project id, model id) that ``projects/<project>/models/<model>`` may mean.

    There may be several, because both ids may contain "/models/".
    """
    parts = f"{project_id}/models/{model_id}".split("/models/")
    for place in range(1, len(parts)):
        project, model = "/models/".join(parts[:place]), "/models/".join(parts[place:])
        if project and model:
            yield project, model


def model_address(project_id: str, model_id: str) -> str:
    """Return the path of a project's model below the root of the API or of the pages."""
    return f"projects/{quote(project_id, safe='')}/models/{quote(model_id, safe='')}"


class AmbiguousModel(Conflict):
    """A 409: several of the caller's projects have a model of the given id."""

    def __init__(self, project_ids: Sequence[str]) -> None:
        self.project_ids = sorted(project_ids)
        super().__init__(
            "ambiguous-model",
            "Several of your projects have a model of this id. Name the project: "
            "/projects/<project>/models/<model>/…",
        )
        self.members = {"projects": self.project_ids}


def named_project(request: Any) -> str | None:
    """Return the project that the path of a model names, or None."""
    project: str | None = request.META.get(NAMED_PROJECT)
    return project


class NamedProject:
    """Middleware that moves the project of a model's path from the view's arguments to the request.

    ``named_project`` reads it from there, so one view of a model serves both forms. Escaped
    slashes in the arguments become slashes here. If a page cannot tell which model is meant, the
    response lists the person's own projects.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_view(
        self, request: HttpRequest, view: Any, args: Any, kwargs: dict[str, Any]
    ) -> None:
        for name, value in kwargs.items():
            if isinstance(value, str) and ESCAPED_SLASH in value:
                kwargs[name] = value.replace(ESCAPED_SLASH, "/")
        if "model_id" in kwargs:
            request.META[NAMED_PROJECT] = kwargs.pop("project_id", None)

    def process_exception(
        self, request: HttpRequest, error: Exception
    ) -> HttpResponse | None:
        if not isinstance(error, AmbiguousModel):
            return None
        path = request.get_full_path()
        choices = [
            (project_id, f"/projects/{quote(project_id, safe='')}{path}")
            for project_id in error.project_ids
        ]
        context = {"choices": choices, "is_read": request.method in ("GET", "HEAD")}
        return render(request, "which_project.html", context, status=error.status)
