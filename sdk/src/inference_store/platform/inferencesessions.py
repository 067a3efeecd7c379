"""Inference sessions of a server: running instances of services."""

from __future__ import annotations

from datetime import datetime

from inference_store import requests
from inference_store.binding import blocking
from inference_store.pages import Page, page_of
from inference_store.requests import Call
from inference_store.schema import (
    InferenceSession,
    InferenceSessionAndToken,
    InferenceSessionCreateRequest,
    InferenceSessionTokenCreateRequest,
)

SESSIONS = "inferencesessions"


@blocking
def create(request: InferenceSessionCreateRequest) -> Call[InferenceSessionAndToken]:
    """Start a session.

    Parameters:
        request: of which service, with how many replicas, and until when.

    Returns:
        The session, and the token that reaches it alone, which is shown this once.

    Raises:
        ValidationError: there is no such service, or the session cannot be like this.
        Conflict: ``too-many-sessions`` of the project have not ended.
        InferenceStoreError: any other failure.
    """
    return requests.post(
        SESSIONS, body=request, read=requests.one(InferenceSessionAndToken)
    )


@blocking
def get(session_id: str) -> Call[InferenceSession]:
    """A session as it is now.

    Parameters:
        session_id: the session's id.

    Returns:
        The session.

    Raises:
        NotFound: there is none of this id.
        InferenceStoreError: any other failure.
    """
    return requests.get(SESSIONS, session_id, read=requests.one(InferenceSession))


@blocking
def query(
    account: str | None = None,
    inferenceService: str | None = None,
    status: str | None = None,
    limit: int = 50,
    cursor: str | None = None,
) -> Call[Page[InferenceSession]]:
    """Sessions of the token's project, newest first.

    Parameters:
        account: only those of this account.
        inferenceService: only those of the service with this id.
        status: only those of this status.
        limit: how many at most, 1 to 1000.
        cursor: the ``next`` of the page before.

    Returns:
        A list with ``next``.

    Raises:
        InferenceStoreError: any failure.
    """
    given = {
        "account": account,
        "inferenceService": inferenceService,
        "status": getattr(status, "value", status),
        "limit": limit,
        "cursor": cursor,
    }
    return requests.get(SESSIONS, read=page_of(InferenceSession), parameters=given)


@blocking
def ready(session_id: str) -> Call[bool]:
    """Whether a session can be called.

    Parameters:
        session_id: the session's id.

    Returns:
        False while it is starting.

    Raises:
        Conflict: ``session-terminated`` or ``session-failed``, it will never be.
        InferenceStoreError: any other failure.
    """
    return requests.get(
        SESSIONS,
        session_id,
        "ready",
        read=lambda response: response.status_code in (200, 204),
    )


@blocking
def token(session_id: str, expires: datetime | None = None) -> Call[str]:
    """One more token of a session.

    Parameters:
        session_id: the session's id.
        expires: when it ends; with the session unless given, and never later.

    Returns:
        The token, which is shown this once.

    Raises:
        Conflict: the session has ended.
        InferenceStoreError: any other failure.
    """
    request = InferenceSessionTokenCreateRequest(expires=expires)
    return requests.post(
        SESSIONS, session_id, "token", body=request, read=requests.member("token")
    )


@blocking
def terminate(session_id: str) -> Call[InferenceSession]:
    """End a session for good.

    Parameters:
        session_id: the session's id.

    Returns:
        The session as it is then. One that has ended before stays as it ended.

    Raises:
        NotFound: there is none of this id.
        InferenceStoreError: any other failure.
    """
    return requests.post(
        SESSIONS,
        session_id,
        "terminate",
        body={},
        read=requests.one(InferenceSession),
        may_repeat=True,
    )
