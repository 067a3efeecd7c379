"""Errors as the API tells them: ``application/problem+json`` with a ``code``."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

from django.core.exceptions import RequestDataTooBig
from django.db import InterfaceError, OperationalError
from rest_framework.exceptions import APIException, ValidationError
from rest_framework.response import Response
from rest_framework.views import exception_handler

from istore.problems import CONTENT_TYPE, Problem, problem

logger = logging.getLogger(__name__)

MOST_ERRORS = 50  # of one request; the rest would say no more
CODES = {
    "parse_error": "malformed-json",
    "authentication_failed": "not-authenticated",
    "not_authenticated": "not-authenticated",
    "throttled": "rate-limited",
    "unsupported_media_type": "unsupported-media-type",
}
TIMED_OUT = "57014"  # query_canceled, as a statement timeout ends


def answer(error: Exception, context: dict[str, Any]) -> Response | None:
    """DRF's exception handler. None, for what is our own fault, becomes a bare 500."""
    error = _translated(error)
    response = exception_handler(error, context)
    if response is None:
        return None
    response.data = as_problem(error, response.status_code)
    response.content_type = CONTENT_TYPE
    return response


def as_problem(error: Exception, status: int | None = None) -> dict[str, Any]:
    """The members of a problem, from whatever DRF turns into an answer."""
    status = status or getattr(error, "status_code", HTTPStatus.BAD_REQUEST)
    if isinstance(error, ValidationError):
        errors = list(_flattened(error.get_full_details()))[:MOST_ERRORS]
        code = errors[0]["code"]
        named = code if "-" in code else "validation-error"
        return problem(status, named, _sentence(**errors[0]), errors=errors)
    # Absent, removed or another tenant's: the answer must not tell which.
    if status == HTTPStatus.NOT_FOUND:
        return problem(status, "not-found", "There is nothing here.")
    code = error.get_codes() if isinstance(error, APIException) else "permission_denied"
    detail = str(getattr(error, "detail", ""))
    return problem(status, CODES.get(code, code.replace("_", "-")), detail)


def _translated(error: Exception) -> Exception:
    """What libraries raise, as what it means to the caller."""
    if isinstance(error, RequestDataTooBig):
        return Problem(413, "body-too-large", "The body is too large.")
    if isinstance(error, OperationalError):
        if getattr(error.__cause__, "sqlstate", None) == TIMED_OUT:
            message = "The question takes too long. Narrow it, by time for example."
            return Problem(422, "query-too-expensive", message)
        logger.exception("The database does not answer.")
        return _unavailable()
    if isinstance(error, InterfaceError):
        logger.exception("The database does not answer.")
        return _unavailable()
    return error


def _unavailable() -> Problem:
    message = "A server behind this one does not answer. Try again soon."
    return Problem(503, "dependency-unavailable", message, retry_after=2)


def _flattened(detail: Any, pointer: str = "") -> Iterator[dict[str, str]]:
    """DRF's nested details as a list, each with a JSON pointer to what is wrong."""
    if isinstance(detail, dict) and detail.keys() == {"message", "code"}:
        yield {"pointer": pointer, **detail}
    elif isinstance(detail, dict):
        for name, inner in detail.items():
            escaped = str(name).replace("~", "~0").replace("/", "~1")
            step = "" if name == "non_field_errors" else f"/{escaped}"
            yield from _flattened(inner, pointer + step)
    else:
        # A list holds the messages of one value, or what is wrong with each member.
        members = any(inner.keys() != {"message", "code"} for inner in detail)
        for number, inner in enumerate(detail):
            yield from _flattened(inner, f"{pointer}/{number}" if members else pointer)


def _sentence(pointer: str, message: str, code: str) -> str:
    return f"{pointer.lstrip('/').replace('/', '.') or 'The body'}: {message}"
