from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command

from istore.accounts.tokens import find_token
from istore.db.clock import now
from istore.models import AuditEntry, Project, Role, Token

pytestmark = pytest.mark.django_db


def create(capsys, *arguments: str) -> str:
    call_command("create_token", *arguments)
    return capsys.readouterr().out


def test_the_token_is_printed_alone_and_opens_the_project(capsys):
    printed = create(capsys, "robot", "--project", "harbour", "--role", "editor")

    token = find_token(printed.removesuffix("\n"))
    assert (token.name, token.project.project_id) == ("robot", "harbour")
    assert token.role == Role.EDITOR
    assert token.expires_at is None


def test_a_project_that_is_there_is_used(capsys, project):
    create(capsys, "robot", "--project", project.project_id, "--role", "viewer")

    assert Token.objects.get().project == project
    assert Project.objects.count() == 1


def test_a_token_may_end_by_itself(capsys):
    create(
        capsys,
        *("robot", "--project", "p", "--role", "viewer", "--expires-in-days", "7"),
    )

    left = Token.objects.get().expires_at - now()
    assert timedelta(days=6.9) < left < timedelta(days=7.1)


def test_the_log_tells_who_made_it(capsys):
    create(capsys, "robot", "--project", "p", "--role", "administrator")

    assert AuditEntry.objects.get().action == "token.create"


@pytest.mark.parametrize(
    "arguments",
    [
        ["robot", "--project", "p", "--role", "king"],
        ["robot", "--project", "", "--role", "viewer"],
        ["robot", "--project", "a\nb", "--role", "viewer"],
        ["", "--project", "p", "--role", "viewer"],
        ["robot", "--project", "p", "--role", "viewer", "--expires-in-days", "0"],
    ],
)
def test_what_makes_no_sense_makes_no_token(arguments):
    with pytest.raises(CommandError):
        call_command("create_token", *arguments)

    assert not Token.objects.exists()
    assert not Project.objects.exists()
