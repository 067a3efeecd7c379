"""Errors of the store as ``application/problem+json``: the one translation for the API.

``exception_handler`` renders what a view of the API raises, ``problem_response`` what is
answered where no such view was reached.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from django.http import HttpResponse, JsonResponse

from istore.errors import NotFound, StoreError
from istore.telemetry import request_ids

CONTENT_TYPE = "application/problem+json"
NOTHING_HERE = "There is nothing here."


class Problem(StoreError):
    """An error of HTTP itself: ``Problem(415, "unsupported-media-type", "…")``."""

    def __init__(self, status: int, code: str, message: str, **members: Any) -> None:
        super().__init__(code, message)
        self.status = status
        self.members = members


def problem(status: int, code: str, detail: str, **members: Any) -> dict[str, Any]:
    """Return the members of a problem document, with the request id that the logs use."""
    return {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": int(status),
        "code": code,
        "detail": detail,
        "request_id": request_ids.current() or None,
        **members,
    }


def document(error: StoreError) -> dict[str, Any]:
    """Return the problem document of an error."""
    detail = str(error)
    if isinstance(error, NotFound):
        # An absent object and another tenant's get the same answer. Who raises an error
        # with a message knows that the caller may see the model.
        detail = detail or NOTHING_HERE
    return problem(error.status, error.code, detail, **error.members)


def headers_of(error: StoreError) -> dict[str, str]:
    """Return the response headers of an error: ``Retry-After``, if it says when to retry."""
    wait = error.retry_after
    return {} if wait is None else {"Retry-After": str(wait)}


def problem_response(error: StoreError) -> HttpResponse:
    """Return an error as a Django response, for code outside of API views."""
    return JsonResponse(
        document(error),
        status=error.status,
        content_type=CONTENT_TYPE,
        headers=headers_of(error),
    )
