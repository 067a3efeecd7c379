"""The first administrator of a store: with secrets that are shown once, or a given password."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User

from istore.models import Token
from supervisor.first_run import WeakPassword, create_first_user, lines_about


def test_secrets_are_made_and_shown_once(db):
    secrets = create_first_user()
    assert User.objects.get().check_password(secrets.password)
    assert secrets.token in lines_about(secrets)[2]
    assert lines_about(create_first_user()) == []


def test_a_given_password_is_not_shown_and_no_token_is_made(db, monkeypatch):
    monkeypatch.setenv("ISTORE_ADMIN_PASSWORD", "anchor-42-long")
    assert create_first_user() is None
    admin = User.objects.get(username="admin")
    assert admin.is_superuser and admin.check_password("anchor-42-long")
    assert not Token.objects.exists()


@pytest.mark.parametrize("password", ["12345678", "admin123", "short"])
def test_a_weak_password_is_refused_in_one_line(db, monkeypatch, password):
    monkeypatch.setenv("ISTORE_ADMIN_PASSWORD", password)
    with pytest.raises(WeakPassword, match=r"^ISTORE_ADMIN_PASSWORD: [^\n]+$"):
        create_first_user()
    assert not User.objects.exists()
