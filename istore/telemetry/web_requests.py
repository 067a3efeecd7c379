"""Requests of the web server: how long each took, by route, method and class of status.

The route is the template of the URL, so no id is in it. What matches none is ``unmatched``, files
are ``static``, and what was refused before Django saw it is ``unread``.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from functools import lru_cache

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_safe

from istore.telemetry import (
    access,
    exposition,
    metrics,
    request_ids,
    startup,
    tracing,
)
from istore.telemetry.metrics import WEB, Distribution, Moment

METHODS = frozenset(
    ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
)  # of others there is no end
UNMATCHED, STATIC, UNREAD = "unmatched", "static", "unread"

durations = Distribution(
    "istore_http_request_duration_seconds",
    "Requests of the web server until their answer began.",
    *("route", "method", "status"),
    roles=(WEB,),
)
in_flight = Moment(
    "istore_http_requests_in_flight", "Requests being answered.", roles=(WEB,)
)
in_flight.set(0)


def observing(
    get_response: Callable[[HttpRequest], HttpResponse],
) -> Callable[[HttpRequest], HttpResponse]:
    """Middleware that measures each request and gives it its id; it stands first."""

    def answer(request: HttpRequest) -> HttpResponse:
        began_at = time.perf_counter()
        in_flight.add()
        given = request.META.get("HTTP_X_REQUEST_ID", "")
        request_id = request_ids.read(given) or request_ids.make()
        request_ids.begin(request_id)
        try:
            if tracing.is_on:
                response = _answer_traced(request, get_response)
            else:
                response = get_response(request)
            _observe(request, response, began_at)
            response.headers.setdefault(request_ids.HEADER, request_id)
            return response
        finally:
            request_ids.end()
            in_flight.add(by=-1)

    return answer


def _answer_traced(
    request: HttpRequest, get_response: Callable[[HttpRequest], HttpResponse]
) -> HttpResponse:
    parent = request.META.get("HTTP_TRACEPARENT", "")
    with tracing.server_span(method_of(request), parent) as span:
        response = get_response(request)
        route = route_of(request)
        span.update_name(f"{method_of(request)} {route}")
        span.set_attribute("http.route", route)
        span.set_attribute("http.request.method", method_of(request))
        span.set_attribute("http.response.status_code", response.status_code)
        if response.status_code >= 500:
            tracing.mark_failed(span)
        return response


def _observe(request: HttpRequest, response: HttpResponse, began_at: float) -> None:
    durations.observe(
        time.perf_counter() - began_at,
        route_of(request),
        method_of(request),
        class_of(response.status_code),
    )


def observe_unread(method: str, status: int, seconds: float) -> None:
    """Count a request that was refused while it was read."""
    method = method if method in METHODS else "other"
    durations.observe(seconds, UNREAD, method, class_of(status))


def route_of(request: HttpRequest) -> str:
    """Return the template of the request's route."""
    match = request.resolver_match
    if match is not None:
        return template_of(match.route)
    is_file = request.path_info.startswith(settings.STATIC_URL)
    return STATIC if is_file else UNMATCHED


@lru_cache(1024)
def template_of(route: str) -> str:
    """Return a route of Django as a template, such as ``/models/{model_id}/inferences``."""
    found, depth = "", 0
    for part in re.split(r"(\\.|[()])", route):
        if part == "(":
            depth += 1
            if depth == 1:
                found += "("
        elif part == ")":
            depth -= 1
            if depth == 0:
                found += ")"
        elif depth <= 1:
            found += part
    found = re.sub(r"\(\?P<(\w+)>[^)]*\)|<(?:\w+:)?(\w+)>", _name, found)
    return "/" + re.sub(r"\\Z|[\^$\\]", "", found).lstrip("/")


def _name(found: re.Match[str]) -> str:
    return f"{{{found[1] or found[2]}}}"


def method_of(request: HttpRequest) -> str:
    """Return the method, or ``other`` for one that nobody needs."""
    method = request.method or ""
    return method if method in METHODS else "other"


def class_of(status: int) -> str:
    """Return the class of a status, such as ``2xx``."""
    return f"{status // 100}xx"


@require_safe
def metrics_view(request: HttpRequest) -> HttpResponse:
    """Answer with the metrics of all web processes behind this address, and of the store."""
    authorization = request.META.get("HTTP_AUTHORIZATION", "").encode(
        "latin-1", "replace"
    )
    if not access.may_read_metrics(request.META.get("REMOTE_ADDR", ""), authorization):
        return HttpResponse(
            "The token of the metrics is missing or wrong.\n",
            status=401,
            content_type="text/plain",
            headers={"WWW-Authenticate": "Bearer"},
        )
    text = startup.process.render(metrics.WEB)
    return HttpResponse(text, content_type=exposition.CONTENT_TYPE)
