"""Who may call the API: tokens, the rate limit of their callers, and the roles views need."""

from __future__ import annotations

from typing import Any

from rest_framework.authentication import BaseAuthentication, get_authorization_header
from rest_framework.exceptions import AuthenticationFailed, Throttled
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from istore.accounts.access import COUNTED
from istore.accounts.tokens import find_token
from istore.api import rate_limits
from istore.models import Role, Token


class Bearer:
    """The ``request.user`` of a call with a token: authenticated, but no person's account."""

    is_authenticated = is_active = True
    is_anonymous = is_staff = is_superuser = False
    pk = None

    def __init__(self, token: Token) -> None:
        self.token = token

    def __str__(self) -> str:
        return f"token {self.token}"


class BearerAuthentication(BaseAuthentication):
    """Authentication by ``Authorization: Bearer <token>``, looked up on each request."""

    def authenticate(self, request: Request) -> tuple[Bearer, Token] | None:
        scheme, _, secret = get_authorization_header(request).partition(b" ")
        if scheme.lower() != b"bearer":
            return None
        bearer = self.find_bearer(request, secret.strip().decode("latin-1"))
        if bearer is None:
            raise refuse_token(request)
        limit_calls(request, rate_limits.by_token(bearer.token.pk))
        return bearer, bearer.token

    def find_bearer(self, request: Request, secret: str) -> Bearer | None:
        """Return the caller with this secret, or None if no valid token has it."""
        token = find_token(secret)
        return Bearer(token) if token else None

    def authenticate_header(self, request: Request) -> str:
        return "Bearer"


def limit_calls(request: Request, caller: str) -> None:
    """Count this call against the caller's rate limit. Raises ``Throttled`` beyond it."""
    request._request.META[COUNTED] = True
    if wait := rate_limits.seconds_to_wait(caller):
        raise Throttled(wait)


def refuse_token(request: Request) -> AuthenticationFailed:
    """Return the 401 of a wrong token. Raises ``Throttled`` when the address sends too many.

    Only wrong tokens are counted by address. A valid token from the same address is not slowed
    down, so a broken program does not lock out its neighbours.
    """
    address = request._request.META.get("REMOTE_ADDR", "")
    limit_calls(request, rate_limits.by_address(address))
    return AuthenticationFailed("The token is unknown, expired or revoked.")


class Denied(BasePermission):
    """The default permission: a view that names no permission refuses everybody."""

    def has_permission(self, request: Request, view: object) -> bool:
        return False


class RolePermission(BasePermission):
    """The permission of a view that requires a role; the view itself checks the project.

    ``needs`` on a view maps a method to a role. Without an entry, reading needs a viewer and
    writing an editor.
    """

    READING = ("GET", "HEAD", "OPTIONS")

    def has_permission(self, request: Request, view: Any) -> bool:
        return bool(request.user and request.user.is_authenticated)

    @classmethod
    def role(cls, request: Request, view: Any) -> Role:
        """Return the role that the view needs for the request's method."""
        needs: dict[str | None, Role] = getattr(view, "needs", {})
        default = Role.VIEWER if request.method in cls.READING else Role.EDITOR
        return needs.get(request.method, default)
