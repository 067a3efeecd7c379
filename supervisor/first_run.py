"""What a new store needs before it can be used: an administrator, a project and a token."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import timedelta

from django.contrib.auth.models import User
from django.db import transaction

from istore.accounts.tokens import create_token
from istore.db.clock import now
from istore.models import Membership, Project, Role

FIRST_USER, FIRST_PROJECT = "admin", "default"
DEMO_TOKEN_LIFE = timedelta(days=1)


@dataclass(frozen=True)
class FirstSecrets:
    """The names and secrets of the first administrator and the first token."""

    user: str
    password: str
    project: str
    token: str


@transaction.atomic
def create_first_user() -> FirstSecrets | None:
    """Create the first administrator and return their secrets; None if the store has users.

    The secrets cannot be shown again: ``manage.py changepassword admin`` sets another password.
    """
    if User.objects.exists():
        return None
    password = secrets.token_urlsafe(12)
    user = User.objects.create_superuser(FIRST_USER, password=password)
    project, _ = Project.objects.get_or_create(project_id=FIRST_PROJECT)
    Membership.objects.create(user=user, project=project, role=Role.ADMINISTRATOR)
    _, token = create_token("first", project, Role.ADMINISTRATOR, user)
    return FirstSecrets(FIRST_USER, password, FIRST_PROJECT, token)


@transaction.atomic
def create_demo_token() -> str:
    """Return a token for the demonstration's traffic, which expires after a day."""
    project, _ = Project.objects.get_or_create(project_id=FIRST_PROJECT)
    expires_at = now() + DEMO_TOKEN_LIFE
    _, token = create_token("demo", project, Role.ADMINISTRATOR, None, expires_at)
    return token
