"""Find tokens with more rights than their makers have, and revoke them.

A maker may have left the project, or have a lower role now. A token belongs to the project
and keeps working when its maker leaves, because programs depend on it. So such tokens have to
be visible, and revoking all of them has to be one action.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from django.contrib.auth import get_user_model
from django.db import transaction
from django.db.models import Q
from django.db.models.functions import Now

from istore.accounts.tokens import revoke_token
from istore.models import AuditEntry, Membership, Project, Role, Token

COMMAND = "command"


@dataclass(frozen=True, slots=True)
class Maker:
    """The maker of a token, with their present role in its project; None after they left."""

    name: str
    role: Role | None
    is_person: bool = True

    def problem(self, token: Token) -> str:
        """Return why the token has more rights than its maker, or "" if it has not."""
        if not self.is_person:
            return ""
        if self.role is None:
            return "maker left"
        if self.role.rank < Role(token.role).rank:
            return f"maker is {self.role.label.lower()} now"
        return ""


def find_makers(tokens: Iterable[Token]) -> dict[int, Maker]:
    """Return the maker of each token, by the token's primary key."""
    tokens = list(tokens)
    names = _names_of_deleted(tokens)
    people = get_user_model().objects.in_bulk({each.created_by_id for each in tokens})
    roles = {
        (membership.user_id, membership.project_id): Role(membership.role)
        for membership in Membership.objects.filter(
            user__in=people, project__in={each.project_id for each in tokens}
        )
    }
    makers = {}
    for token in tokens:
        person = people.get(token.created_by_id)
        if person is None:
            name = names.get(token.pk, COMMAND)
            makers[token.pk] = Maker(name, None, is_person=name != COMMAND)
        elif person.is_active and person.is_superuser:
            makers[token.pk] = Maker(str(person), Role.ADMINISTRATOR)
        else:
            role = roles.get((person.pk, token.project_id))
            makers[token.pk] = Maker(str(person), role if person.is_active else None)
    return makers


def _names_of_deleted(tokens: Iterable[Token]) -> dict[int, str]:
    """Return the names of makers whose accounts were deleted, by the token's primary key.

    Only the audit log still names them.
    """
    orphans = {str(token): token for token in tokens if token.created_by_id is None}
    entries = AuditEntry.objects.filter(action="token.create", subject__in=orphans)
    return {
        orphans[entry.subject].pk: entry.actor
        for entry in entries
        if entry.project_id == orphans[entry.subject].project_id
    }


def valid_tokens(project: Project | None = None) -> list[Token]:
    """Return the tokens that are neither expired nor revoked, of one project or of all."""
    unexpired = Q(expires_at=None) | Q(expires_at__gt=Now())
    tokens = Token.objects.filter(unexpired, revoked_at=None).select_related("project")
    return list(tokens if project is None else tokens.filter(project=project))


def tokens_beyond_their_makers(
    project: Project | None = None,
) -> list[tuple[Token, Maker]]:
    """Return the valid tokens with more rights than their makers, in one project or in all."""
    tokens = valid_tokens(project)
    makers = find_makers(tokens)
    return [
        (token, makers[token.pk]) for token in tokens if makers[token.pk].problem(token)
    ]


@transaction.atomic
def revoke_tokens_beyond_their_makers(
    actor: object, project: Project | None = None
) -> list[Token]:
    """Revoke these tokens and return them. Each revocation has its own audit entry."""
    revoked = [token for token, _ in tokens_beyond_their_makers(project)]
    for token in revoked:
        revoke_token(token, actor)
    return revoked
