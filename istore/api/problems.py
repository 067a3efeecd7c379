"""Problems: errors that are raised anywhere and rendered once, by ``exception_handler``.

The codes are listed in section 4 of the reliability page.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import structlog
from django.http import HttpResponse, JsonResponse
from rest_framework import exceptions
from rest_framework.exceptions import APIException, ValidationError

CONTENT_TYPE = "application/problem+json"


class Problem(APIException):
    """Any error of the store: ``Problem(413, "body-too-large", "…")``."""

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        retry_after: int | None = None,
        errors: list[dict[str, str]] | None = None,
    ) -> None:
        super().__init__(detail, code)
        self.status_code = status
        self.errors = errors
        if retry_after is not None:
            self.wait = retry_after


class Conflict(APIException):
    """A 409 with a code that says which conflict: ``Conflict("…", "inference-exists")``."""

    status_code = HTTPStatus.CONFLICT


def invalid(message: str, *path: str | int, code: str = "invalid") -> ValidationError:
    """Return a 400 that names the wrong field.

    For example ``invalid("…", "filters", "metadata_filter", 0)``.
    """
    detail: Any = [exceptions.ErrorDetail(message, code)]
    for step in reversed(path):
        detail = {str(step): detail}
    return ValidationError(detail)


def problem(status: int, code: str, detail: str, **more: Any) -> dict[str, Any]:
    """Return the members of a problem document, with the request id that the logs use."""
    return {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": int(status),
        "code": code,
        "detail": detail,
        "request_id": structlog.contextvars.get_contextvars().get("request_id"),
        **more,
    }


def problem_response(error: Problem) -> HttpResponse:
    """Return a problem as a Django response, for code outside of API views."""
    more = {"errors": error.errors} if error.errors else {}
    code, detail = str(error.get_codes()), str(error.detail)
    content = problem(error.status_code, code, detail, **more)
    return JsonResponse(content, status=error.status_code, content_type=CONTENT_TYPE)


def plain(status: int, code: str, detail: str) -> HttpResponse:
    """Return a problem as a Django response where no API view was reached."""
    content = problem(status, code, detail)
    return JsonResponse(content, status=status, content_type=CONTENT_TYPE)
