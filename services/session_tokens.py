"""Secrets that reach one session: 256 random bits, shown once, kept as their SHA-256."""

from __future__ import annotations

import hashlib
import secrets
from datetime import datetime
from hmac import compare_digest

from django.db.models.functions import Now

from services.models import InferenceSession, SessionToken

MARK = "iss_"  # tells them from tokens of projects, in a log or a repository
PREFIX_LENGTH = len(MARK) + 10


def new_secret(session: InferenceSession, expires_at: datetime | None = None) -> str:
    """A secret for the session, whose row is written; show it after the commit."""
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
    """The token of this secret, its session and service beside it.

    The session may have ended: what that means, the caller says.
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
    """For the beat: how many were forgotten."""
    return SessionToken.objects.filter(expires_at__lte=Now()).delete()[0]


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).digest()
