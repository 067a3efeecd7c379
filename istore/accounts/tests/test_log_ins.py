"""The brake on guessed passwords, and what the audit log says of accounts."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import count

import pytest
from django.contrib.auth.models import Permission, User
from django.core.management import call_command
from django.db import connections
from django.db.models import F
from django.test import Client

from istore.accounts import login_throttle
from istore.accounts.login_throttle import Attempt, TooSoon, forget_old_failures
from istore.models import AuditEntry, LoginFailures

RIGHT, WRONG = "a right one 7", "a wrong one 7"
HERE, THERE = "192.0.2.1", "198.51.100.7"


@pytest.fixture(autouse=True)
def quick_hashes(settings):
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture
def ada(db) -> User:
    return User.objects.create_superuser("ada", password=RIGHT)


def log_in(password, username="ada", *, address=HERE, client=None, path="/login"):
    data = {"username": username, "password": password}
    return (client or Client()).post(path, data, REMOTE_ADDR=address)


def fail(times, username="ada", **where):
    return [log_in(WRONG, username, **where).status_code for _ in range(times)]


def let_time_pass(seconds):
    """As if everything had happened earlier."""
    earlier = timedelta(seconds=seconds)
    LoginFailures.objects.update(
        last_at=F("last_at") - earlier, until=F("until") - earlier
    )


def entries(action):
    return AuditEntry.objects.filter(action=action).order_by("id")


@pytest.mark.parametrize("path", ["/login", "/admin/login/"])
def test_guessing_at_a_name_is_slowed_down(ada, path):
    assert fail(7, path=path) == [200] * 5 + [429] * 2
    assert log_in(RIGHT, path=path).status_code == 429


@pytest.mark.parametrize("path", ["/login", "/admin/login/"])
def test_a_delay_is_told_and_ends(ada, path):
    fail(6, path=path)
    answer = log_in(RIGHT, path=path)

    assert "Try again in 1 second." in answer.content.decode()
    assert int(answer["Retry-After"]) == 1
    let_time_pass(1)
    assert log_in(RIGHT, path=path).status_code == 302


def test_the_delay_grows_to_a_bound(ada):
    fail(5)
    waits = []
    for _ in range(9):
        waits.append(int(log_in(WRONG)["Retry-After"]))
        let_time_pass(waits[-1])
        log_in(WRONG)

    # Of the name, to a minute; then of the address, which is slower to begin.
    assert waits[:7] == [1, 2, 4, 8, 16, 32, 60]
    assert waits == sorted(waits)


def test_what_comes_within_a_delay_does_not_prolong_it(ada):
    fail(5)
    for _ in range(7):  # to a delay that this test does not outlast
        wait = int(log_in(WRONG)["Retry-After"])
        let_time_pass(wait)
        log_in(WRONG)
    wait = int(log_in(WRONG)["Retry-After"])
    fail(10)
    let_time_pass(wait)

    assert log_in(RIGHT).status_code == 302


def test_a_name_is_counted_over_addresses_and_an_address_over_names(ada):
    addresses = (f"203.0.113.{n}" for n in count())
    names = (f"nobody-{n}" for n in count())

    by_name = [log_in(WRONG, address=next(addresses)).status_code for _ in range(6)]
    by_address = [log_in(WRONG, next(names)).status_code for _ in range(11)]

    assert by_name == [200] * 5 + [429]
    assert by_address == [200] * 10 + [429]
    assert log_in(RIGHT, "somebody-else", address=HERE).status_code == 429
    assert log_in(WRONG, "somebody-else", address=THERE).status_code == 200


def test_spellings_of_a_name_are_one_name(ada):
    names = ["ada", "ADA", "Ada", "\N{FULLWIDTH LATIN SMALL LETTER A}da", "aDa", "ada"]

    assert [log_in(WRONG, name).status_code for name in names] == [200] * 5 + [429]


def test_names_that_nobody_has_answer_alike(ada):
    def said(name):
        answers = [log_in(WRONG, name, address=f"203.0.113.{n}") for n in range(7)]
        return [
            (a.status_code, a.get("Retry-After"), a.context["form"].non_field_errors())
            for a in answers
        ]

    assert said("ada") == said("nobody")


def test_strangers_do_not_hold_up_a_browser_that_is_known(ada):
    client = Client()
    assert log_in(RIGHT, client=client).status_code == 302
    client.post("/logout")
    cookie = client.cookies["known-browser"]
    fail(20, address=HERE)

    assert cookie["httponly"] and cookie["samesite"] == "Lax"
    assert log_in(RIGHT, address=HERE).status_code == 429
    assert log_in(RIGHT, client=client, address=HERE).status_code == 302


def test_a_known_browser_is_counted_too_and_known_for_its_person_alone(ada):
    User.objects.create_user("bob", password=RIGHT)
    client = Client()
    log_in(RIGHT, client=client)
    client.post("/logout")

    assert fail(6, client=client) == [200] * 5 + [429]
    fail(5, "bob")
    assert log_in(WRONG, "bob", client=client).status_code == 429


def test_a_right_password_ends_the_count_of_its_name(ada):
    fail(4)
    log_in(RIGHT)

    assert fail(6) == [200] * 5 + [429]


def test_somebodys_own_account_does_not_wash_an_address_clean(ada):
    User.objects.create_user("mallory", password=RIGHT)
    names = (f"nobody-{n}" for n in count())
    answers = []
    for _ in range(11):
        answers.append(log_in(WRONG, next(names)).status_code)
        log_in(RIGHT, "mallory")

    assert answers == [200] * 10 + [429]


def test_old_failures_are_forgotten_one_by_one_and_then_wholly(ada):
    fail(5)
    let_time_pass(300)
    assert fail(2) == [200, 429]

    let_time_pass(24 * 3600)
    assert forget_old_failures() > 0
    assert not LoginFailures.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_attempts_at_once_are_let_through_one_by_one():
    def attempt(_):
        request = type("Request", (), {"META": {"REMOTE_ADDR": HERE}, "COOKIES": {}})
        try:
            Attempt.begin(request, "ada")
        except TooSoon:
            return False
        finally:
            connections.close_all()
        return True

    with ThreadPoolExecutor(8) as threads:
        begun = list(threads.map(attempt, range(40)))

    assert sum(begun) == 5


def test_no_attempt_waits_in_a_thread(ada, monkeypatch):
    pauses = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    fail(10)

    assert pauses == []


def test_the_old_password_cannot_be_guessed_from_an_open_session(ada):
    client = Client()
    log_in(RIGHT, client=client)

    def change(old):
        new = "another one 8"
        data = {"old_password": old, "new_password1": new, "new_password2": new}
        return client.post("/password", data).status_code

    assert [change(WRONG) for _ in range(6)] == [200] * 5 + [429]
    let_time_pass(1)
    assert change(RIGHT) == 302


def test_accounts_leave_audit_rows(ada):
    client = Client()
    fail(1)
    log_in(RIGHT, client=client)
    new = "another one 8"
    data = {"old_password": RIGHT, "new_password1": new, "new_password2": new}
    client.post("/password", data)
    client.post("/logout")

    failed, entered = entries("user.log-in-failed").get(), entries("user.log-in").get()
    assert (failed.subject, failed.details) == ("ada", {"address": HERE})
    assert (entered.actor, entered.details) == ("user ada", {"address": HERE})
    assert entries("user.change-password").get().actor == "user ada"
    assert entries("user.log-out").get().actor == "user ada"


def test_a_name_that_nobody_has_is_not_kept(ada, caplog):
    log_in(WRONG, "my password by mistake")

    assert entries("user.log-in-failed").get().subject == "an unknown user name"
    assert "my password" not in caplog.text
    assert "my password" not in str(list(LoginFailures.objects.values()))


def test_a_flood_of_guesses_does_not_fill_the_audit_log(ada, monkeypatch):
    monkeypatch.setattr(login_throttle, "AUDITED_AN_HOUR", 3)
    for number in range(9):
        log_in(WRONG, f"nobody-{number}", address=f"203.0.113.{number}")

    answer = [entry.subject for entry in entries("user.log-in-failed")]
    assert answer == ["an unknown user name"] * 3 + ["more"]


def test_another_password_ends_the_other_sessions_and_the_delay(ada):
    here, there = Client(), Client()
    log_in(RIGHT, client=here)
    log_in(RIGHT, client=there)
    new = "another one 8"
    data = {"old_password": RIGHT, "new_password1": new, "new_password2": new}
    here.post("/password", data)

    assert here.get("/").status_code == 200
    assert there.get("/").status_code == 302


def test_logging_out_everywhere_ends_every_session_of_this_person(ada):
    User.objects.create_superuser("bob", password=RIGHT)
    here, there, bob = Client(), Client(), Client()
    log_in(RIGHT, client=here)
    log_in(RIGHT, client=there)
    log_in(RIGHT, "bob", client=bob)

    assert here.post("/logout/everywhere").status_code == 302
    assert here.get("/").status_code == there.get("/").status_code == 302
    assert bob.get("/").status_code == 200
    assert entries("user.log-out-everywhere").get().details == {"sessions": 2}


def test_a_session_gets_another_key_at_the_log_in(ada):
    client = Client()
    client.session.save()
    session = client.session
    session["before"] = 1
    session.save()
    client.cookies["sessionid"] = before = session.session_key
    log_in(RIGHT, client=client)

    assert client.cookies["sessionid"].value != before
    assert Client(cookies={"sessionid": before}).get("/").status_code == 302


@pytest.mark.parametrize(
    "elsewhere",
    [
        "https://evil.example/",
        "//evil.example",
        "/\\evil.example",
        "javascript:alert(1)",
    ],
)
def test_a_log_in_leads_nowhere_else(ada, elsewhere):
    data = {"username": "ada", "password": RIGHT, "next": elsewhere}

    assert Client().post("/login", data)["Location"] == "/"
    answer = Client().post("/theme", {"theme": "dark", "next": elsewhere})
    assert answer["Location"] == "/"


@pytest.mark.parametrize("word", ["nowhere", "login", "inferences-models"])
def test_a_theme_leads_back_to_an_address_and_not_to_a_view(word):
    answer = Client().post("/theme", {"theme": "dark", "next": word})
    assert answer["Location"] == word


@pytest.mark.parametrize(
    "path", ["/login", "/logout", "/password", "/logout/everywhere", "/admin/login/"]
)
def test_forms_of_accounts_need_their_token(ada, path):
    client = Client(enforce_csrf_checks=True)
    client.force_login(ada)

    assert client.post(path, {}).status_code == 403


def test_a_password_set_for_somebody_is_audited_and_may_be_tried_at_once(ada):
    bob = User.objects.create_user("bob", password=WRONG)
    fail(5, "bob")
    client = Client()
    client.force_login(ada)
    new = "another one 8"
    client.post(
        f"/admin/auth/user/{bob.pk}/password/",
        {"password1": new, "password2": new, "usable_password": "true"},
    )

    assert entries("user.set-password").get().subject == "bob"
    assert log_in(new, "bob").status_code == 302


def test_the_command_that_sets_a_password_is_audited(ada, monkeypatch):
    from django.contrib.auth.management.commands import changepassword

    monkeypatch.setattr(changepassword.getpass, "getpass", lambda prompt: "another 8x")
    call_command("changepassword", "ada", verbosity=0)

    assert entries("user.set-password").get().actor == "command"
    assert log_in("another 8x").status_code == 302


def test_staff_cannot_make_themselves_superusers(ada):
    staff = User.objects.create_user("staff", password=RIGHT, is_staff=True)
    wanted = ["add_user", "change_user", "view_user", "delete_user"]
    staff.user_permissions.set(Permission.objects.filter(codename__in=wanted))
    client = Client()
    client.force_login(staff)
    own = f"/admin/auth/user/{staff.pk}/change/"
    client.post(own, {"username": "staff", "is_active": "on", "is_superuser": "on"})
    new = {"password1": WRONG, "password2": WRONG, "usable_password": "true"}
    answer = client.post(f"/admin/auth/user/{ada.pk}/password/", new)

    staff.refresh_from_db()
    assert not staff.is_superuser
    assert answer.status_code == 403
    assert client.post(f"/admin/auth/user/{ada.pk}/delete/").status_code == 403


def test_the_brake_needs_no_valkey(ada, settings, tmp_path):
    settings.ISTORE_REDIS_URL = f"unix://{tmp_path}/nothing.sock?db=0"

    assert fail(6) == [200] * 5 + [429]
