"""The exceptions of this package: one hierarchy, in which the HTTP status decides.

Catch ``InferenceStoreError`` for any failure, or a subclass for one kind of it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import httpx2


class InferenceStoreError(Exception):
    """Any failure of a call, and the base of all exceptions of this package.

    ``status`` is the HTTP status, None if there was no answer. ``code`` is the problem's
    code, such as ``inference-exists``, and ``detail`` a sentence for people. ``errors`` says
    what is wrong with each part of the request (``pointer``, ``code``, ``message``).
    ``request_id`` is the id of the request in the logs of the store.
    """

    def __init__(
        self,
        detail: str,
        *,
        status: int | None = None,
        code: str | None = None,
        errors: list[dict[str, Any]] | None = None,
        request_id: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.status = status
        self.code = code
        self.errors = errors or []
        self.request_id = request_id
        self.retry_after = retry_after

    def __str__(self) -> str:
        status = " ".join(str(part) for part in (self.status, self.code) if part)
        return f"{self.detail} ({status})" if status else self.detail


class NotConnected(InferenceStoreError):
    """A module function was called before ``connect()``."""


class ConnectionFailed(InferenceStoreError, ConnectionError):
    """The store did not answer at all."""


class TimedOut(ConnectionFailed, TimeoutError):
    """The store did not answer within the timeout. The call may have been carried out."""


class UnexpectedAnswer(InferenceStoreError):
    """The answer is not one of the store's. Check that the URL is that of the store."""


class ValidationError(InferenceStoreError, ValueError):
    """400, 422: the request is not valid; ``errors`` says which part of it."""


class NotAuthenticated(InferenceStoreError):
    """401: there is no token, or it is not valid (any more)."""


class PermissionDenied(InferenceStoreError, PermissionError):
    """403: the token's role does not allow this."""


class NotFound(InferenceStoreError, LookupError):
    """404: it does not exist, was removed, or is in a project that the token cannot reach."""


class Conflict(InferenceStoreError):
    """409: the id is taken, or the state does not allow the call; ``code`` says which."""


class RateLimited(InferenceStoreError):
    """429: too many requests. ``retry_after`` is the wait in seconds, if the store gave one."""


class ServerError(InferenceStoreError):
    """5xx: the server failed, or an upstream of it."""


class Unavailable(ServerError):
    """503: temporarily unavailable. Retry, after ``retry_after`` seconds if it is given."""


BY_STATUS: Mapping[int, type[InferenceStoreError]] = {
    400: ValidationError,
    401: NotAuthenticated,
    403: PermissionDenied,
    404: NotFound,
    409: Conflict,
    422: ValidationError,
    429: RateLimited,
    503: Unavailable,
}


def error_of(
    response: httpx2.Response, retry_after: float | None = None
) -> InferenceStoreError:
    """Return the exception for a response with a status of 300 or more."""
    status, problem = response.status_code, problem_of(response)
    default = ServerError if status >= 500 else InferenceStoreError
    errors = problem.get("errors")
    return BY_STATUS.get(status, default)(
        _sentence(response, problem),
        status=status,
        code=_text(problem.get("code")),
        errors=errors if isinstance(errors, list) else None,
        request_id=_text(problem.get("request_id"))
        or response.headers.get("x-request-id"),
        retry_after=retry_after,
    )


def problem_of(response: httpx2.Response) -> dict[str, Any]:
    """Return the JSON object of the body, such as a problem; {} if the body is none."""
    try:
        problem = json.loads(response.content)
    except ValueError:
        return {}
    return problem if isinstance(problem, dict) else {}


def _sentence(response: httpx2.Response, problem: dict[str, Any]) -> str:
    """Return the detail of a problem, or the error member of an answer of the proxy."""
    detail = _text(problem.get("detail")) or _text(problem.get("error"))
    return detail or response.reason_phrase or "The store refused."


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
