"""Tokens of sessions: secrets of 256 random bits, shown once, stored as their SHA-256."""

from __future__ import annotations

import hashlib
import secrets
from datetime import datetime
from hmac import compare_digest

from django.db.models.functions import Now

from services.models import InferenceSession, SessionToken

MARK = "iss_"  # so that a token in a log or repository can be told from a project's
PREFIX_LENGTH = len(MARK) + 10


def new_secret(session: InferenceSession, expires_at: datetime | None = None) -> str:
    """Write the row of a new token, and return its secret. Show it only after the commit."""
    secret = MARK + secrets.token_urlsafe(32)
    ends = min(expires_at or session.expires_at, session.expires_at)
    SessionToken.objects.create(
        session=session,
        prefix=secret[:PREFIX_LENGTH],
        digest=_digest(secret),
        expires_at=ends,
    )
    return secret


def find_session_token(secret: str) -> SessionToken | None:
    """Return the token of this secret, with its session and service; None if there is none.

    The session may have ended; the caller decides what that means.
    """
    if not secret.startswith(MARK):
        return None
    valid = SessionToken.objects.filter(expires_at__gt=Now())
    found = (
        valid.filter(prefix=secret[:PREFIX_LENGTH])
        .select_related("session__service__project")
        .first()
    )
    if found and compare_digest(bytes(found.digest), _digest(secret)):
        return found
    return None


def forget_expired_tokens() -> int:
    """Delete expired tokens, and return how many. Beat calls it."""
    return SessionToken.objects.filter(expires_at__lte=Now()).delete()[0]


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).digest()
