"""Tokens of people who left a project, or who may less than their tokens."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.test import Client

from istore.accounts.tokens import create_token, find_token
from istore.models import AuditEntry, Membership, Project, Role, Token

ADDRESS = "/projects/harbour/tokens"


@pytest.fixture
def ada(project) -> Client:
    """The project's administrator, logged in."""
    user = User.objects.create_user("ada")
    Membership.objects.create(user=user, project=project, role=Role.ADMINISTRATOR)
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def bob(project) -> User:
    user = User.objects.create_user("bob")
    Membership.objects.create(user=user, project=project, role=Role.ADMINISTRATOR)
    return user


def page(client):
    return client.get(ADDRESS).content.decode()


def test_a_token_of_somebody_who_left_is_shown_and_revoked(ada, bob, project):
    _, secret = create_token("program", project, Role.EDITOR, bob)
    assert "maker left" not in page(ada)
    membership = Membership.objects.get(user=bob)
    answer = ada.post(
        f"/projects/harbour/members/{membership.pk}", {"role": ""}, follow=True
    )

    assert "1 token of bob still open it" in answer.content.decode()
    assert find_token(secret)
    assert "maker left" in page(ada)
    ada.post(f"{ADDRESS}/revoke-left")
    assert find_token(secret) is None
    entry = AuditEntry.objects.get(action="token.revoke")
    assert entry.actor == "user ada"
    assert "maker left" not in page(ada)


def test_a_token_that_may_more_than_its_maker_is_shown(ada, bob, project):
    create_token("strong", project, Role.EDITOR, bob)
    create_token("weak", project, Role.VIEWER, bob)
    Membership.objects.filter(user=bob).update(role=Role.VIEWER)

    assert page(ada).count("maker is viewer now") == 1
    ada.post(f"{ADDRESS}/revoke-left")
    assert list(
        Token.objects.filter(revoked_at=None).values_list("name", flat=True)
    ) == ["weak"]


def lose_account(bob):
    User.objects.filter(pk=bob.pk).update(is_active=False)


@pytest.mark.parametrize("leave", [lose_account, User.delete])
def test_an_account_that_is_closed_or_deleted_has_left(ada, bob, project, leave):
    create_token("program", project, Role.EDITOR, bob)
    leave(bob)

    assert "maker left" in page(ada)
    assert "by bob" in page(ada)


def test_tokens_of_superusers_and_of_the_command_are_in_order(ada, project):
    create_token(
        "one", project, Role.ADMINISTRATOR, User.objects.create_superuser("root")
    )
    create_token("two", project, Role.ADMINISTRATOR)
    ada.post(f"{ADDRESS}/revoke-left")

    assert not Token.objects.exclude(revoked_at=None).exists()


def test_other_projects_are_left_alone(ada, bob, project):
    other = Project.objects.create(project_id="other")
    _, secret = create_token("theirs", other, Role.EDITOR, bob)
    ada.post(f"{ADDRESS}/revoke-left")

    assert find_token(secret)
    assert ada.post("/projects/other/tokens/revoke-left").status_code == 404


def test_members_below_administrators_revoke_nothing(ada, bob, project):
    Membership.objects.filter(user=bob).update(role=Role.EDITOR)
    client = Client()
    client.force_login(bob)

    assert client.post(f"{ADDRESS}/revoke-left").status_code == 403


def test_the_command_lists_and_revokes(bob, project, capsys):
    _, secret = create_token("program", project, Role.EDITOR, bob)
    Membership.objects.filter(user=bob).delete()
    call_command("revoke_tokens")

    assert "bob: maker left" in capsys.readouterr().out
    assert find_token(secret)
    call_command("revoke_tokens", project="harbour", revoke=True)
    assert find_token(secret) is None
    with pytest.raises(CommandError):
        call_command("revoke_tokens", project="nowhere")


def test_the_command_revokes_all_of_one_maker(ada, bob, project, capsys):
    _, theirs = create_token("theirs", project, Role.EDITOR, bob)
    _, others = create_token("others", project, Role.EDITOR)
    call_command("revoke_tokens", made_by="bob", revoke=True)

    assert find_token(theirs) is None
    assert find_token(others)


@pytest.mark.parametrize("name", ["maria", "nobody", "closed", "ada"])
def test_adding_a_member_says_the_same_whatever_the_name(ada, project, name):
    User.objects.create_user("maria")
    User.objects.create_user("closed", is_active=False)
    answer = ada.post(
        "/projects/harbour/members", {"username": name, "role": "viewer"}, follow=True
    )
    text = answer.content.decode()

    assert answer.redirect_chain == [("/projects/harbour/members", 302)]
    assert f"Whoever is called {name} belongs to harbour now." in text
    assert Membership.objects.get(user__username="ada").role == Role.ADMINISTRATOR
    assert Membership.objects.filter(user__username="maria").exists() == (
        name == "maria"
    )
