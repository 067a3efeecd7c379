"""Errors as values: raised where it is wrong, told at the edge by ``exception_handler``.

The codes are those of the reliability page, section 4.
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
    """Any error of ours: ``Problem(413, "body-too-large", "…")``."""

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
    """A 409, with the code that says which: ``Conflict("…", "inference-exists")``."""

    status_code = HTTPStatus.CONFLICT


def invalid(message: str, *path: str | int, code: str = "invalid") -> ValidationError:
    """A 400 that names its place: ``invalid("…", "filters", "metadata_filter", 0)``."""
    detail: Any = [exceptions.ErrorDetail(message, code)]
    for step in reversed(path):
        detail = {str(step): detail}
    return ValidationError(detail)


def problem(status: int, code: str, detail: str, **more: Any) -> dict[str, Any]:
    """The members of a problem, with the id under which the logs hold the request."""
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
    more = {"errors": error.errors} if error.errors else {}
    code, detail = str(error.get_codes()), str(error.detail)
    content = problem(error.status_code, code, detail, **more)
    return JsonResponse(content, status=error.status_code, content_type=CONTENT_TYPE)


def plain(status: int, code: str, detail: str) -> HttpResponse:
    """A problem as Django answers it, where no API view was reached."""
    content = problem(status, code, detail)
    return JsonResponse(content, status=status, content_type=CONTENT_TYPE)
