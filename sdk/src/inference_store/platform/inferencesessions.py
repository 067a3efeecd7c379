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
    """Start a session, and return it with its token.

    Parameters:
        request: the service, the number of replicas, and when the session expires.

    Returns:
        The session, and the token for this session alone. The token is shown only once.

    Raises:
        ValidationError: there is no such service, or the request is not valid.
        Conflict: ``too-many-sessions``, too many sessions of the project are active.
        InferenceStoreError: any other failure.
    """
    return requests.post(
        SESSIONS, body=request, read=requests.one(InferenceSessionAndToken)
    )


@blocking
def get(session_id: str) -> Call[InferenceSession]:
    """Return a session as it is now.

    Parameters:
        session_id: the session's id.

    Returns:
        The session.

    Raises:
        NotFound: there is no session of this id.
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
    """Return one page of the sessions of the token's project, newest first.

    Parameters:
        account: only those of this account.
        inferenceService: only those of the service with this id.
        status: only those of this status.
        limit: sessions on the page, 1 to 1000.
        cursor: the ``next`` of the page before.

    Returns:
        The sessions as a list, with the cursor of the following page as ``next``.

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
    """Return whether a session can be called.

    Parameters:
        session_id: the session's id.

    Returns:
        True if it can be called, False while it is starting.

    Raises:
        Conflict: ``session-terminated`` or ``session-failed``: it will never be ready.
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
    """Create a further token of a session, and return it.

    Parameters:
        session_id: the session's id.
        expires: when the token expires; with the session when not given, and never later.

    Returns:
        The token. It is shown only once.

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
    """Terminate a session permanently.

    Parameters:
        session_id: the session's id.

    Returns:
        The session. If it had ended before, it is returned unchanged.

    Raises:
        NotFound: there is no session of this id.
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
