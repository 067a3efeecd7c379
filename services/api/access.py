"""Authentication by tokens of a single session, besides people and project tokens."""

from __future__ import annotations

from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.openapi import AutoSchema
from rest_framework.authentication import get_authorization_header
from rest_framework.request import Request

from istore.api import rate_limits
from istore.api.access import BearerAuthentication, limit_calls, refuse_token
from services.models import SessionToken
from services.session_tokens import MARK, find_session_token


class SessionBearer:
    """The ``request.user`` of a call that is authenticated by a session's token."""

    is_authenticated = is_active = True
    is_anonymous = is_staff = is_superuser = False
    pk = None

    def __init__(self, token: SessionToken) -> None:
        self.token = token

    def __str__(self) -> str:
        return f"session token {self.token}"


class SessionBearerAuthentication(BearerAuthentication):
    """``Authorization: Bearer <token>``, of a session or of a project."""

    def authenticate(self, request: Request) -> tuple[Any, Any] | None:
        secret = bearer_of(request)
        if not secret.startswith(MARK):
            return super().authenticate(request)
        token = find_session_token(secret)
        if token is None:
            raise refuse_token(request)
        limit_calls(request, rate_limits.by_session_token(token.pk))
        return SessionBearer(token), token


class SessionBearerScheme(OpenApiAuthenticationExtension):
    """``Authorization: Bearer <token>``, of a session or of its project."""

    target_class = SessionBearerAuthentication
    priority = 1  # before that of the class it derives from
    name = "session-token"

    def get_security_definition(self, auto_schema: AutoSchema) -> dict[str, str]:
        return {"type": "http", "scheme": "bearer"}


def bearer_of(request: Request) -> str:
    """Return the bearer secret of the request; empty if there is none."""
    scheme, _, secret = get_authorization_header(request).partition(b" ")
    return secret.strip().decode("latin-1") if scheme.lower() == b"bearer" else ""
