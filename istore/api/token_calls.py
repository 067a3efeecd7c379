"""Middleware: calls of the API with a token go to their view past the middleware of pages.

A program has no session, no messages, no CSRF token and no static files, so the middleware
for them has nothing to do. What a call needs of the rest is done here: the host is checked,
the two log lines are written, the rate limit holds, and the response has the same headers.
Calls of browsers (with an ``Origin``) and all that is no route of the API go the long way.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import cast

from csp.middleware import CSPMiddleware
from django.conf import settings
from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import DisallowedHost
from django.core.handlers.exception import convert_exception_to_response
from django.http import HttpRequest, HttpResponse
from django.middleware.clickjacking import XFrameOptionsMiddleware
from django.middleware.common import CommonMiddleware
from django.middleware.security import SecurityMiddleware
from django.template.response import SimpleTemplateResponse
from django.urls import Resolver404, ResolverMatch, resolve

from istore.addresses import TELEMETRY, NamedProject
from istore.api.failures import as_store_error
from istore.views import limiting_calls, shows_token
from istore.web.request_checks import error_response, read_whole_body
from istore.web.request_logs import RequestLogMiddleware

API = ("/api/v1/", *TELEMETRY)
ROUTES_REMEMBERED = 1024  # of paths; the paths of lists and creates are few
VARY = "origin"  # of CORS

Respond = Callable[[HttpRequest], HttpResponse]


class TokenCalls:
    """The middleware; what stands after it in the settings is for pages."""

    def __init__(self, get_response: Respond) -> None:
        self._of_pages = get_response
        view = cast(Respond, convert_exception_to_response(self._call_view))
        self._respond = RequestLogMiddleware(limiting_calls(view))
        self._names = NamedProject(get_response)
        self._common = CommonMiddleware(get_response)
        self._same_headers: dict[bool, dict[str, str]] = {}

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if not _is_token_call(request):
            return self._of_pages(request)
        try:
            request.get_host()
            route = _route_of(request.path_info, settings.ROOT_URLCONF)
        except (DisallowedHost, Resolver404):
            return self._of_pages(request)
        request.user = AnonymousUser()
        request.resolver_match = route
        response = cast(HttpResponse, self._respond(request))
        self._common.process_response(request, response)  # gives it its length
        for name, value in self._headers(request).items():
            response.headers.setdefault(name, value)
        vary = response.headers.get("Vary")
        response.headers["Vary"] = f"{vary}, {VARY}" if vary else VARY
        return response

    def _call_view(self, request: HttpRequest) -> HttpResponse:
        route = request.resolver_match
        assert route is not None
        view, args, kwargs = route.func, route.args, dict(route.kwargs)
        try:
            read_whole_body(request, view)
            self._names.process_view(request, view, args, kwargs)
            response: HttpResponse = view(request, *args, **kwargs)
            if isinstance(response, SimpleTemplateResponse):  # as those of DRF are
                response = response.render()
            return response
        except Exception as error:  # DRF has answered those of the call itself
            ours = as_store_error(error)
            if ours is None:
                raise
            return error_response(request, ours)

    def _headers(self, request: HttpRequest) -> dict[str, str]:
        """Return the headers that the middleware of pages gives every response."""
        is_secure = request.is_secure()
        if is_secure not in self._same_headers:
            bare = HttpResponse()
            del bare["Content-Type"]
            XFrameOptionsMiddleware(self._of_pages).process_response(request, bare)
            CSPMiddleware(self._of_pages).process_response(request, bare)
            SecurityMiddleware(self._of_pages).process_response(request, bare)
            self._same_headers[is_secure] = dict(bare.items())
        return self._same_headers[is_secure]


def _is_token_call(request: HttpRequest) -> bool:
    return (
        request.path_info.startswith(API)
        and shows_token(request)
        and "HTTP_ORIGIN" not in request.META
        and (request.is_secure() or not settings.SECURE_SSL_REDIRECT)
    )


@lru_cache(ROUTES_REMEMBERED)
def _route_of(path: str, urls: str) -> ResolverMatch:
    """Return the route of a path; over a hundred patterns are tried before it is found."""
    return resolve(path, urls)
