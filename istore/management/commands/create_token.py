from __future__ import annotations

from argparse import ArgumentParser
from datetime import timedelta
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError
from django.db import transaction

from istore.accounts.tokens import create_token
from istore.db.clock import now
from istore.models import Project, Role

LONGEST_DAYS = 36_500


class Command(BaseCommand):
    help = "Create a token of a project and print it, alone and this once."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", help="what the token is for")
        parser.add_argument("--project", required=True, help="made if it is missing")
        parser.add_argument("--role", required=True, choices=Role.values)
        parser.add_argument("--expires-in-days", type=int, metavar="N")

    @transaction.atomic
    def handle(
        self,
        *,
        name: str,
        project: str,
        role: str,
        expires_in_days: int | None,
        **options: Any,
    ) -> str:
        if not 0 < len(name) <= 255:
            raise CommandError("The name has 1 to 255 characters.")
        if expires_in_days is not None and not 0 < expires_in_days <= LONGEST_DAYS:
            raise CommandError(f"A token expires in 1 to {LONGEST_DAYS} days.")
        life = timedelta(days=expires_in_days) if expires_in_days else None
        expires_at = now() + life if life else None
        of = _project(project)
        _, secret = create_token(name, of, Role(role), expires_at=expires_at)
        return secret


def _project(project_id: str) -> Project:
    try:
        Project(project_id=project_id).clean_fields()
    except ValidationError as error:
        raise CommandError(" ".join(error.messages)) from None
    return Project.objects.get_or_create(project_id=project_id)[0]
