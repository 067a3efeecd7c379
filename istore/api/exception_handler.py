"""Turn exceptions of the API into ``application/problem+json`` with a ``code``."""

from __future__ import annotations

from collections.abc import Iterator
from http import HTTPStatus
from itertools import islice
from typing import Any

from rest_framework.exceptions import APIException, ErrorDetail, ValidationError
from rest_framework.response import Response
from rest_framework.views import exception_handler

from istore.api.failures import as_answer
from istore.api.parsing import ProblemRenderer
from istore.api.problems import CONTENT_TYPE, Problem, problem

MOST_ERRORS = 50  # listed for one request; more would not help its author
CODES = {
    "parse_error": "malformed-json",
    "authentication_failed": "not-authenticated",
    "not_authenticated": "not-authenticated",
    "throttled": "rate-limited",
    "unsupported_media_type": "unsupported-media-type",
}


def answer(error: Exception, context: dict[str, Any]) -> Response | None:
    """Return the response to an exception: DRF's ``EXCEPTION_HANDLER``.

    It returns None for an error of our own, which becomes a bare 500.
    """
    error = as_answer(error) or error
    response = exception_handler(error, context)
    if response is None:
        return None
    response.data = as_problem(error, response.status_code)
    response.content_type = CONTENT_TYPE
    # Problems are JSON, even if the view renders YAML or HTML.
    if request := context.get("request"):
        request.accepted_renderer = ProblemRenderer()
        request.accepted_media_type = CONTENT_TYPE
    return response


def as_problem(error: Exception, status: int | None = None) -> dict[str, Any]:
    """Return the members of a problem document for any exception that DRF can answer."""
    of_error: int = getattr(error, "status_code", HTTPStatus.BAD_REQUEST)
    status = status or of_error
    if isinstance(error, ValidationError):
        errors = list(islice(_flatten(error.detail), MOST_ERRORS))
        code = errors[0]["code"]
        named = code if "-" in code else "validation-error"
        return problem(status, named, _sentence(**errors[0]), errors=errors)
    # The answer must not tell an absent object from another tenant's. A Problem is
    # raised where the caller is known to see the model, and may say more.
    says_more = isinstance(error, Problem) and bool(str(error.detail))
    if status == HTTPStatus.NOT_FOUND and not says_more:
        return problem(status, "not-found", "There is nothing here.")
    code = "permission_denied"
    if isinstance(error, APIException):
        code = str(error.get_codes())
    detail = str(getattr(error, "detail", ""))
    more = getattr(error, "more", {})
    return problem(status, CODES.get(code, code.replace("_", "-")), detail, **more)


def _flatten(detail: Any, pointer: str = "") -> Iterator[dict[str, str]]:
    """Yield DRF's nested details one by one, each with a JSON pointer to the wrong value.

    It is lazy, because there may be as many errors as values.
    """
    if isinstance(detail, ErrorDetail):
        code = detail.code or "invalid"
        yield {"pointer": pointer, "message": str(detail), "code": code}
    elif isinstance(detail, dict):
        for name, inner in detail.items():
            escaped = str(name).replace("~", "~0").replace("/", "~1")
            step = "" if name == "non_field_errors" else f"/{escaped}"
            yield from _flatten(inner, pointer + step)
    else:
        # A list holds either the messages of one value, or the errors of each member.
        members = any(not isinstance(inner, ErrorDetail) for inner in detail)
        for number, inner in enumerate(detail):
            yield from _flatten(inner, f"{pointer}/{number}" if members else pointer)


def _sentence(pointer: str, message: str, code: str) -> str:
    return f"{pointer.lstrip('/').replace('/', '.') or 'The body'}: {message}"
