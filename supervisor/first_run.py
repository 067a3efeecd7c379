"""What a new store needs before it can be used: an administrator, a project and a token."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import timedelta

from django.contrib.auth.models import User
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db import transaction

from istore import env
from istore.accounts.tokens import create_token
from istore.db.clock import now
from istore.models import Membership, Project, Role

FIRST_USER, FIRST_PROJECT = "admin", "default"
DEMO_TOKEN_LIFE = timedelta(days=1)


class WeakPassword(Exception):
    """The password that was given is none for an administrator; the message is one line."""


@dataclass(frozen=True)
class FirstSecrets:
    """The names and secrets of the first administrator and the first token."""

    user: str
    password: str
    project: str
    token: str


@transaction.atomic
def create_first_user() -> FirstSecrets | None:
    """Create the first administrator and return their secrets; None if there is nothing to show.

    Nothing is shown of a store that has users, and with ``ISTORE_ADMIN_PASSWORD``: then no token is
    made either, because logs of containers are collected. Secrets cannot be shown again:
    ``manage.py changepassword admin`` sets another password. Raises ``WeakPassword``.
    """
    if User.objects.exists():
        return None
    given = env.text("ISTORE_ADMIN_PASSWORD")
    password = given or secrets.token_urlsafe(12)
    user = User(username=FIRST_USER, is_staff=True, is_superuser=True)
    if given:
        _validate(given, user)
    user.set_password(password)
    user.save()
    project, _ = Project.objects.get_or_create(project_id=FIRST_PROJECT)
    Membership.objects.create(user=user, project=project, role=Role.ADMINISTRATOR)
    if given:
        return None
    _, token = create_token("first", project, Role.ADMINISTRATOR, user)
    return FirstSecrets(FIRST_USER, password, FIRST_PROJECT, token)


def lines_about(secrets: FirstSecrets | None) -> list[str]:
    """Return what the operator is told of new secrets, once."""
    if secrets is None:
        return []
    return [
        "Shown this once:",
        f"  password of {secrets.user}: {secrets.password}",
        f"  token for project {secrets.project}: {secrets.token}",
    ]


def _validate(password: str, user: User) -> None:
    try:
        validate_password(password, user)
    except ValidationError as error:
        why = " ".join(error.messages)
        raise WeakPassword(f"ISTORE_ADMIN_PASSWORD: {why}") from None


@transaction.atomic
def create_demo_token() -> str:
    """Return a token for the demonstration's traffic, which expires after a day."""
    project, _ = Project.objects.get_or_create(project_id=FIRST_PROJECT)
    expires_at = now() + DEMO_TOKEN_LIFE
    _, token = create_token("demo", project, Role.ADMINISTRATOR, None, expires_at)
    return token
