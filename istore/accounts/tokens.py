"""API tokens: 256 random bits that are shown once. Only their SHA-256 is stored."""

from __future__ import annotations

import hashlib
import secrets
from contextlib import suppress
from datetime import datetime, timedelta
from hmac import compare_digest
from typing import TYPE_CHECKING

from django.db import DatabaseError, transaction
from django.db.models import Q
from django.db.models.functions import Now

from istore.db.compiled_queries import CompiledQuery, parameter
from istore.models import AuditEntry, Project, Role, Token

if TYPE_CHECKING:
    from django.contrib.auth.models import User

MARK = "ist_"  # makes a leaked secret recognisable in a log or a repository
PREFIX_LENGTH = len(MARK) + 10
USE_IS_WORTH_NOTING = timedelta(minutes=1)  # so most requests write no row


@transaction.atomic
def create_token(
    name: str,
    project: Project,
    role: Role,
    user: User | None = None,
    expires_at: datetime | None = None,
) -> tuple[Token, str]:
    """Return a new token and its secret. The secret cannot be shown again."""
    secret = MARK + secrets.token_urlsafe(32)
    token = Token.objects.create(
        name=name,
        project=project,
        role=role,
        prefix=secret[:PREFIX_LENGTH],
        digest=_digest(secret),
        created_by=user,
        expires_at=expires_at,
    )
    AuditEntry.write(user or "command", "token.create", str(token), project, role=role)
    return token, secret


VALID = CompiledQuery(
    lambda: Token.objects.filter(
        Q(expires_at=None) | Q(expires_at__gt=Now()),
        prefix=parameter("prefix"),
        revoked_at=None,
    ).select_related("project")
)


def find_token(secret: str) -> Token | None:
    """Return the valid token with this secret, with its project loaded, or None."""
    if "\0" in secret:  # Basic authentication can send one, and the database takes none
        return None
    return if_proven(VALID.first(prefix=secret[:PREFIX_LENGTH]), secret)


def if_proven(found: Token | None, secret: str) -> Token | None:
    """Return the token that was found by the prefix of a secret if it has the whole secret."""
    if found and compare_digest(bytes(found.digest), _digest(secret)):
        _note_use(found)
        return found
    return None


@transaction.atomic
def revoke_token(token: Token, actor: object) -> None:
    """Revoke the token from the next request on. The row stays for auditors."""
    Token.objects.filter(pk=token.pk, revoked_at=None).update(revoked_at=Now())
    AuditEntry.write(actor, "token.revoke", str(token), token.project)


def _note_use(token: Token) -> None:
    if token.last_used_at is None or _older_than_a_minute(token.last_used_at):
        stale = Q(last_used_at=None) | Q(last_used_at__lt=Now() - USE_IS_WORTH_NOTING)
        # ``last_used_at`` is best effort: on a read-only database the token still works.
        with suppress(DatabaseError), transaction.atomic():
            Token.objects.filter(stale, pk=token.pk).update(last_used_at=Now())


def _older_than_a_minute(moment: datetime) -> bool:
    return datetime.now(moment.tzinfo) - moment > USE_IS_WORTH_NOTING


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).digest()
