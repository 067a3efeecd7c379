"""Access control: which projects a caller may see, and what they may do there.

A caller is a person with memberships, or a token of one project. Every queryset of a view
starts from ``Caller.visible_projects``. An absent object and another tenant's object get the
same 404, so a caller cannot learn that something exists in another project.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from django.db.models import Q
from rest_framework.authentication import BaseAuthentication, get_authorization_header
from rest_framework.exceptions import AuthenticationFailed, Throttled
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from istore.accounts.tokens import find_token
from istore.api import rate_limits
from istore.models import Membership, Project, Role, Token

if TYPE_CHECKING:
    from django.contrib.auth.models import AnonymousUser, User
    from django.db.models import QuerySet
    from django.http import HttpRequest

COUNTED = "istore.is_counted"  # in the META of a request that a rate limit has counted


@dataclass(frozen=True, slots=True)
class Caller:
    """The author of a request: a person, or a token that was given to a program."""

    user: User | AnonymousUser | None = None
    token: Token | None = None

    def __str__(self) -> str:
        return f"token {self.token}" if self.token else f"user {self.user}"

    def projects(self, role: Role = Role.VIEWER) -> Q:
        """Return a condition on ``Project``: the caller has at least this role in it."""
        if self.token:
            covered = self.token.role in role.at_least()
            return Q(pk=self.token.project_id) if covered else Q(pk__in=())
        if self.user is None or not self.user.is_active:
            return Q(pk__in=())
        if self.user.is_superuser:
            return Q()
        held = Membership.objects.filter(user=self.user.pk, role__in=role.at_least())
        return Q(pk__in=held.values("project"))

    def visible_projects(self, role: Role = Role.VIEWER) -> QuerySet[Project]:
        """Return the queryset of projects in which the caller has at least this role."""
        return Project.objects.filter(self.projects(role))

    def may(self, role: Role, project: Project) -> bool:
        """Return whether the caller has at least this role in the project."""
        return self.visible_projects(role).filter(pk=project.pk).exists()


def caller_of(request: Request | HttpRequest) -> Caller:
    """Return the caller of a request: the token of an API call, or the person of a session."""
    token = getattr(request, "auth", None)
    return Caller(request.user, token if isinstance(token, Token) else None)


def person_of(request: HttpRequest) -> User:
    """Return the person of a page that nobody sees without a log-in."""
    return cast("User", request.user)


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
        token = find_token(secret.strip().decode("latin-1"))
        if token is None:
            raise refuse_token(request)
        limit_calls(request, rate_limits.by_token(token.pk))
        return Bearer(token), token

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
