"""What can go wrong between here and the store: one hierarchy, told by status."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import httpx2


class InferenceStoreError(Exception):
    """Any failure of a call.

    ``status`` is the HTTP status, None if there was no answer; ``code`` the problem's
    code, such as ``inference-exists``; ``detail`` a sentence for people; ``errors`` what
    is wrong with each part of the request (``pointer``, ``code``, ``message``);
    ``request_id`` the id under which the store's logs hold the request.
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
        said = " ".join(str(each) for each in (self.status, self.code) if each)
        return f"{self.detail} ({said})" if said else self.detail


class NotConnected(InferenceStoreError):
    """A module function was called before ``connect()``."""


class ConnectionFailed(InferenceStoreError, ConnectionError):
    """The store did not answer at all."""


class TimedOut(ConnectionFailed, TimeoutError):
    """The store did not answer in time. Whether the call was carried out is not known."""


class UnexpectedAnswer(InferenceStoreError):
    """An answer that is not one of the store's: is the URL that of the store?"""


class ValidationError(InferenceStoreError, ValueError):
    """400, 422: the request says something that the store cannot do."""


class NotAuthenticated(InferenceStoreError):
    """401: there is no token, or it is not valid (any more)."""


class PermissionDenied(InferenceStoreError, PermissionError):
    """403: the token's role does not allow this."""


class NotFound(InferenceStoreError, LookupError):
    """404: absent, removed, or of a project that the token does not reach."""


class Conflict(InferenceStoreError):
    """409: there is something under this id already, or it is being changed; see ``code``."""


class RateLimited(InferenceStoreError):
    """429: too many requests; ``retry_after`` is in seconds."""


class ServerError(InferenceStoreError):
    """5xx: the failure is not the caller's."""


class Unavailable(ServerError):
    """503: try again, after ``retry_after`` seconds if it is given."""


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
    """The error that an answer with a status of 300 or more stands for."""
    status, told = response.status_code, problem_of(response)
    default = ServerError if status >= 500 else InferenceStoreError
    errors = told.get("errors")
    return BY_STATUS.get(status, default)(
        _sentence(response, told),
        status=status,
        code=_text(told.get("code")),
        errors=errors if isinstance(errors, list) else None,
        request_id=_text(told.get("request_id"))
        or response.headers.get("x-request-id"),
        retry_after=retry_after,
    )


def problem_of(response: httpx2.Response) -> dict[str, Any]:
    """The members of a problem; empty if the answer is something else."""
    try:
        told = json.loads(response.content)
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}


def _sentence(response: httpx2.Response, told: dict[str, Any]) -> str:
    """The detail of a problem, or the error of an answer of the proxy."""
    said = _text(told.get("detail")) or _text(told.get("error"))
    return said or response.reason_phrase or "The store refused."


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
