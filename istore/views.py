"""Views that belong to no app: the API's description, error pages, and the rate limit."""

from __future__ import annotations

import sys
from collections.abc import Callable
from http import HTTPStatus

from csp.constants import SELF, UNSAFE_INLINE
from csp.decorators import csp_update
from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.shortcuts import redirect, render
from django.templatetags.static import static
from django.utils.decorators import method_decorator
from django.views.decorators.http import require_safe
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView

from istore.accounts.access import COUNTED
from istore.addresses import TELEMETRY
from istore.api import rate_limits
from istore.api.failures import as_store_error
from istore.api.problems import Problem, problem_response
from istore.web.request_checks import error_response

OF_PROGRAMS = ("/api/", *TELEMETRY)
# Where models are called at the proxy, which a program may ask for at the address of the pages.
OF_PROXY = ("/v1/", "/v2/", "/api/chat", "/api/generate", "/api/embed")


class SchemaView(SpectacularAPIView):
    """OpenAPI 3.1 of the whole API, for everyone."""


@method_decorator(csp_update({"style-src": [SELF, UNSAFE_INLINE]}), name="dispatch")
class SwaggerView(SpectacularSwaggerSplitView):
    """The API to read and try, with no file from another host."""


@require_safe
def favicon(request: HttpRequest) -> HttpResponse:
    """Redirect to the icon, for pages that name none."""
    return redirect(static("favicon.svg"))


def _error(request: HttpRequest, status: int, code: str, detail: str) -> HttpResponse:
    called = request.path.startswith(OF_PROXY)
    if called and status == HTTPStatus.NOT_FOUND:
        detail = f"Models are called at the proxy: {settings.ISTORE_PROXY_URL}."
    is_of_programs = called or request.path.startswith(OF_PROGRAMS)
    if is_of_programs and not _is_browsing(request):
        return problem_response(Problem(status, code, detail))
    context = {"status": status, "detail": detail, "is_of_programs": is_of_programs}
    return render(request, "error.html", context, status=status)


def _is_browsing(request: HttpRequest) -> bool:
    """Return whether a person opened this address in a browser, which asks for a page by name."""
    return request.method == "GET" and "text/html" in request.headers.get("Accept", "")


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    return _error(request, 400, "validation-error", "The request cannot be read.")


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    return _error(request, 403, "permission-denied", "Your role does not cover this.")


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    return _error(request, 404, "not-found", "There is nothing here.")


def telling_not_allowed(
    get_response: Callable[[HttpRequest], HttpResponse],
) -> Callable[[HttpRequest], HttpResponse]:
    """Middleware that gives a 405 a body; Django's own is empty."""

    def answer(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        if not isinstance(response, HttpResponseNotAllowed) or response.content:
            return response
        detail = f"This address does not take {request.method}."
        if request.method in ("GET", "HEAD"):
            detail = "This address is no page."
        told = _error(request, 405, "method-not-allowed", detail)
        told["Allow"] = response["Allow"]
        return told

    return answer


UNLIMITED = ("/health/", "/metrics")


def limiting_calls(
    get_response: Callable[[HttpRequest], HttpResponse],
) -> Callable[[HttpRequest], HttpResponse]:
    """Middleware that applies ``ISTORE_RATE_PER_MINUTE`` to people, and to unknown addresses.

    A call with a token is counted where the token is looked up. If no view of the API looked it
    up, the call counts for its address.
    """

    def answer(request: HttpRequest) -> HttpResponse:
        if request.path.startswith(UNLIMITED):
            return get_response(request)
        if request.path.startswith(OF_PROGRAMS) and shows_token(request):
            response = get_response(request)
            if COUNTED in request.META:
                return response
            return _too_many(request, _address(request)) or response
        return _too_many(request, _person(request)) or get_response(request)

    return answer


def shows_token(request: HttpRequest) -> bool:
    """Return whether the request carries a token, valid or not."""
    header: str = request.META.get("HTTP_AUTHORIZATION", "")
    scheme = header.partition(" ")[0].lower()
    return scheme == "bearer" or (scheme == "basic" and request.path in TELEMETRY)


def _address(request: HttpRequest) -> str:
    return rate_limits.by_address(request.META.get("REMOTE_ADDR", ""))


def _person(request: HttpRequest) -> str:
    # Reading the user marks the session as accessed, and every response would then vary
    # by cookie.
    accessed = request.session.accessed
    user = request.user
    caller = rate_limits.by_user(user.pk) if user.is_authenticated else None
    request.session.accessed = accessed
    return caller or _address(request)


def _too_many(request: HttpRequest, caller: str) -> HttpResponse | None:
    wait = rate_limits.seconds_to_wait(caller)
    if not wait:
        return None
    detail = f"These are more calls than a minute holds. Try again in {wait} seconds."
    response = _error(request, 429, "rate-limited", detail)
    response["Retry-After"] = str(wait)
    return response


def server_error(request: HttpRequest) -> HttpResponse:
    """Answer a 500, or the error that a fault of a server behind this one means."""
    error = as_store_error(sys.exception())
    if error is None:
        detail = "Something went wrong on our side."
        error = Problem(500, "internal-error", detail)
    return error_response(request, error)
