"""Turn exceptions of the API into ``application/problem+json`` with a ``code``."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from rest_framework.exceptions import APIException, ValidationError
from rest_framework.response import Response
from rest_framework.views import exception_handler, set_rollback

from istore.api.failures import as_store_error
from istore.api.parsing import ProblemRenderer
from istore.api.problems import (
    CONTENT_TYPE,
    NOTHING_HERE,
    document,
    headers_of,
    problem,
)
from istore.api.serializers import as_invalid

CODES = {
    "parse_error": "malformed-json",
    "authentication_failed": "not-authenticated",
    "not_authenticated": "not-authenticated",
    "throttled": "rate-limited",
    "unsupported_media_type": "unsupported-media-type",
}


def answer(error: Exception, context: dict[str, Any]) -> Response | None:
    """Return the response to an exception: DRF's ``EXCEPTION_HANDLER``.

    It returns None for a fault of our own, which becomes a bare 500.
    """
    response = _respond(error, context)
    if response is None:
        return None
    response.content_type = CONTENT_TYPE
    # Problems are JSON, even if the view renders YAML or HTML.
    if request := context.get("request"):
        request.accepted_renderer = ProblemRenderer()
        request.accepted_media_type = CONTENT_TYPE
    return response


def _respond(error: Exception, context: dict[str, Any]) -> Response | None:
    if isinstance(error, ValidationError):
        error = as_invalid(error)
    if ours := as_store_error(error):
        set_rollback()
        return Response(document(ours), status=ours.status, headers=headers_of(ours))
    response = exception_handler(error, context)
    if response is not None:
        response.data = _problem_of_framework(error, response.status_code)
    return response


def _problem_of_framework(error: Exception, status: int) -> dict[str, Any]:
    """Return the problem document of an exception of Django or of the REST framework."""
    if status == HTTPStatus.NOT_FOUND:
        return problem(status, "not-found", NOTHING_HERE)
    if isinstance(error, APIException):
        code, detail = str(error.get_codes()), str(error.detail)
    else:
        code, detail = "permission_denied", ""
    return problem(status, CODES.get(code, code.replace("_", "-")), detail)
