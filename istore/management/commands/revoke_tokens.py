from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import transaction

from istore.accounts.token_makers import (
    find_makers,
    revoke_tokens_beyond_their_makers,
    tokens_beyond_their_makers,
    valid_tokens,
)
from istore.accounts.tokens import revoke_token
from istore.models import Project


class Command(BaseCommand):
    help = (
        "List the valid tokens whose makers left their project or may less than the "
        "token, or of one maker; with --revoke, end them all."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--project", help="in this project alone")
        parser.add_argument(
            "--made-by", metavar="USER", help="all tokens of this maker"
        )
        parser.add_argument("--revoke", action="store_true")

    @transaction.atomic
    def handle(
        self,
        *,
        project: str | None,
        made_by: str | None,
        revoke: bool,
        **options: Any,
    ) -> None:
        of = _project(project)
        if made_by:
            tokens = valid_tokens(of)
            makers = find_makers(tokens)
            found = [(t, makers[t.pk]) for t in tokens if makers[t.pk].name == made_by]
        else:
            found = tokens_beyond_their_makers(of)
        for token, maker in found:
            why = maker.problem(token) or "in the project"
            self.stdout.write(
                f"{token.project}\t{token}\t{token.role}\t{maker.name}: {why}"
            )
        if revoke and made_by:
            for token, _ in found:
                revoke_token(token, "command")
        elif revoke:
            revoke_tokens_beyond_their_makers("command", of)


def _project(project_id: str | None) -> Project | None:
    if project_id is None:
        return None
    found = Project.objects.filter(project_id=project_id).first()
    if found is None:
        raise CommandError("There is no such project.")
    return found
