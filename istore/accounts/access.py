"""Access control: which projects a caller may see, and what they may do there.

A caller is a person with memberships, or a token of one project. Every queryset of a view
starts from ``Caller.visible_projects``. An absent object and another tenant's object get the
same 404, so a caller cannot learn that something exists in another project.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, cast

from django.db.models import Q

from istore.db.compiled_queries import CompiledValues, parameter
from istore.models import Membership, Project, Role, Token

if TYPE_CHECKING:
    from django.contrib.auth.models import AnonymousUser, User
    from django.db.models import QuerySet
    from django.http import HttpRequest


class HasUser(Protocol):
    """A request of the API or of a page: either knows who is calling."""

    user: Any


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
        return projects_of_member(self.user.pk, role)

    def visible_projects(self, role: Role = Role.VIEWER) -> QuerySet[Project]:
        """Return the queryset of projects in which the caller has at least this role."""
        return Project.objects.filter(self.projects(role))

    def may(self, role: Role, project: Project) -> bool:
        """Return whether the caller has at least this role in the project."""
        if self.token:
            is_own = self.token.project_id == project.pk
            return is_own and self.token.role in role.at_least()
        if self.user is None or not self.user.is_active:
            return False
        if self.user.is_superuser:
            return True
        held = ROLES_HELD.rows(user=self.user.pk, project=project.pk)
        return any(each in role.at_least() for (each,) in held)


def projects_of_member(user: Any, role: Role = Role.VIEWER) -> Q:
    """Return a condition on ``Project``: the person with this key has at least this role in it."""
    held = Membership.objects.filter(user=user, role__in=role.at_least())
    return Q(pk__in=held.values("project"))


# Compiled once: every page asks for it.
ROLES_HELD = CompiledValues(
    lambda: Membership.objects.filter(
        user=parameter("user"), project=parameter("project")
    ).values_list("role")
)


def caller_of(request: HasUser) -> Caller:
    """Return the caller of a request: the token of an API call, or the person of a session."""
    token = getattr(request, "auth", None)
    return Caller(request.user, token if isinstance(token, Token) else None)


def person_of(request: HttpRequest) -> User:
    """Return the person of a page that nobody sees without a log-in."""
    return cast("User", request.user)
