"""Middleware that refuses unreadable requests and answers faults of the servers behind us.

PostgreSQL cannot store a NUL, so a NUL in a path, query, cookie or form is refused here. Only
UTF-8 is accepted as the charset of a body. Bodies are read whole before a view begins, so no
view acts on half a body. A view that reads a large body itself says ``takes_files``, and acts
only when it has read all of it.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable
from typing import Any, BinaryIO, cast

from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import RequestDataTooBig, SuspiciousOperation
from django.http import HttpRequest, HttpResponse, QueryDict
from django.http.request import UnreadablePostError
from django.middleware.csrf import get_token
from django.template.loader import render_to_string

from istore.addresses import TELEMETRY
from istore.api.failures import as_store_error
from istore.api.problems import NOTHING_HERE, Problem, headers_of, problem_response
from istore.api.request_body import INCOMPLETE, checked_stream, has_unknown_end
from istore.errors import BadInput, NotFound, StoreError, TooLarge

NUL = "\0"
FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")
UTF_8 = {"utf-8", "ascii"}
NAME_CHARS = 100
API = ("/api/", "/uploads", "/blobs", *TELEMETRY)


class RequestChecks:
    """The middleware: it checks the request, reads the body, and answers faults."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        try:
            check_request(request)
        except StoreError as error:
            return error_response(request, error)
        return self.get_response(request)

    def process_view(
        self, request: HttpRequest, view: Any, args: Any, kwargs: Any
    ) -> HttpResponse | None:
        try:
            read_whole_body(request, view)
        except StoreError as error:
            return error_response(request, error)
        return None

    def process_exception(
        self, request: HttpRequest, error: Exception
    ) -> HttpResponse | None:
        ours = as_store_error(error)
        return error_response(request, ours) if ours else None


def check_request(request: HttpRequest) -> None:
    """Raise a ``StoreError`` if the request contains what cannot be read as text."""
    if stream := checked_stream(request.META):
        request._stream = cast(BinaryIO, stream)
    if NUL in request.path_info:
        raise NotFound("not-found")
    _check_charset(request)
    try:
        _check_values(request.GET, "parameter")
    except SuspiciousOperation:
        detail = "The query has too many parameters."
        raise BadInput("validation-error", detail) from None
    for name in [name for name, value in request.COOKIES.items() if NUL in value]:
        del request.COOKIES[name]  # no cookie of ours contains a NUL


def _check_charset(request: HttpRequest) -> None:
    """Refuse a body that declares another charset than UTF-8, as which everything is read."""
    given = (request.content_params or {}).get("charset")
    if given is None:
        return
    # Private, so it is not in the stubs; assigning ``encoding`` would read the query at once.
    request._encoding = None  # type: ignore[attr-defined]
    try:
        is_utf_8 = codecs.lookup(given).name in UTF_8
    except (LookupError, ValueError):
        is_utf_8 = False
    if not is_utf_8 and has_body(request):
        raise Problem(415, "unsupported-media-type", "Texts are read as UTF-8.")


def read_whole_body(request: HttpRequest, view: Any) -> None:
    """Read the body into memory, where it cannot break off. Raises ``StoreError``."""
    if not has_body(request):
        return
    if has_unknown_end(request.META):
        detail = "A body without a Content-Length cannot be told whole from cut."
        raise Problem(411, "length-required", detail)
    takes_files = getattr(_class_of(view), "takes_files", False)
    encoding = request.META.get("HTTP_CONTENT_ENCODING", "").strip().lower()
    if encoding not in ("", "identity") and not _passes_on(view):
        detail = f"The content encoding {encoding!r:.40} is not understood."
        raise Problem(415, "unsupported-encoding", detail)
    is_form = request.content_type in FORMS
    is_page = not request.path_info.startswith(API)
    try:
        if is_form and is_page:
            _check_values(request.POST, "field")
        elif not takes_files:
            _ = request.body
    except UnreadablePostError:
        detail = "The body broke off before its end."
        raise BadInput(INCOMPLETE, detail) from None
    except RequestDataTooBig:
        raise TooLarge("body-too-large", "The body is too large.") from None
    except SuspiciousOperation:
        detail = "The form has too many fields."
        raise BadInput("validation-error", detail) from None


def has_body(request: HttpRequest) -> bool:
    """Return whether the request has a body."""
    length = request.META.get("CONTENT_LENGTH") or "0"
    return length != "0" or has_unknown_end(request.META)


def _class_of(view: Any) -> Any:
    return getattr(view, "view_class", None) or getattr(view, "cls", None) or view


def _passes_on(view: Any) -> bool:
    """Return whether the view forwards the body to a server that knows encodings itself."""
    return getattr(_class_of(view), "passes_on", False)


def _check_values(given: QueryDict, what: str) -> None:
    for name, values in given.lists():
        if NUL in name or any(NUL in value for value in values):
            shown = name.replace(NUL, "")[:NAME_CHARS]
            detail = f"The {what} {shown!r} holds a NUL character."
            pointer = "/" + shown.replace("~", "~0").replace("/", "~1")
            error = {"pointer": pointer, "code": "invalid-encoding", "message": detail}
            raise Problem(400, "invalid-encoding", detail, errors=[error])


def error_response(request: HttpRequest, error: StoreError) -> HttpResponse:
    """Return the error as JSON or as a page, without looking up who is calling."""
    if request.path_info.startswith(API):
        return problem_response(error)
    return HttpResponse(
        error_page(request, error), status=error.status, headers=headers_of(error)
    )


def error_page(request: HttpRequest, error: StoreError) -> str:
    """Return the error page for an anonymous user.

    The error may be the database's own, so the user is not looked up.
    """
    context = {
        "request": request,
        "csrf_token": get_token(request),
        "status": int(error.status),
        "detail": str(error) or NOTHING_HERE,
    }
    request.user = AnonymousUser()
    return render_to_string("error.html", context)
