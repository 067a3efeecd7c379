"""A right that was taken away is missing in the next call, on the short way of hot calls too."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from inferences.models import RegisteredModel
from inferences.tests.builders import body as new_body
from istore.accounts.tokens import revoke_token
from istore.models import Membership, Project, Role, Token

CALLS = ("list", "filter", "count", "one", "create")
PATHS = ("/api/v1/models/yolo-harbour", "/api/v1/projects/harbour/models/yolo-harbour")


@pytest.fixture(params=PATHS)
def ask(request, make_inference):
    """``ask(client, "count")`` makes a call of the model's inferences."""
    make_inference(inference_id="one")
    path = f"{request.param}/inferences"
    new = new_body("new")
    kind = {"content_type": "application/json"}

    def send(client, name: str) -> int:
        if name in ("list", "one"):
            response = client.get(path if name == "list" else f"{path}/one")
        elif name == "create":
            response = client.post(path, new, **kind)
        else:
            response = client.post(f"{path}/{name}", {}, **kind)
        return response.status_code

    return send


@pytest.fixture
def bearer(api_as):
    client = api_as(Role.EDITOR)
    client.post = lambda path, body, content_type, post=client.post: post(
        path, body, format="json"
    )
    return client


def revoke(token: Token) -> None:
    revoke_token(token, "tester")


def expire(token: Token) -> None:
    Token.objects.update(expires_at=timezone.now() - timedelta(seconds=1))


def delete(token: Token) -> None:
    token.delete()


def exchange(token: Token) -> None:
    Token.objects.update(digest=b"another secret")


@pytest.mark.parametrize("take_away", [revoke, expire, delete, exchange])
@pytest.mark.parametrize("call", CALLS)
def test_a_token_that_ended_opens_nothing(ask, bearer, call, take_away):
    assert ask(bearer, call) in (200, 201)
    take_away(Token.objects.get())

    assert ask(bearer, call) == 401


def move_token(token: Token) -> None:
    Token.objects.update(project=Project.objects.create(project_id="elsewhere"))


def move_model(token: Token) -> None:
    elsewhere = Project.objects.create(project_id="elsewhere")
    RegisteredModel.objects.update(project=elsewhere)


def remove_model(token: Token) -> None:
    RegisteredModel.objects.all().delete()


def rename_model(token: Token) -> None:
    RegisteredModel.objects.update(model_id="another")


@pytest.mark.parametrize("change", [move_token, move_model, remove_model, rename_model])
@pytest.mark.parametrize("call", CALLS)
def test_a_model_that_is_not_the_tokens_any_more_is_absent(ask, bearer, call, change):
    assert ask(bearer, call) in (200, 201)
    change(Token.objects.get())

    assert ask(bearer, call) == 404


@pytest.mark.parametrize("call", CALLS)
def test_a_token_whose_role_was_narrowed_reads_alone(ask, bearer, call):
    assert ask(bearer, call) in (200, 201)
    Token.objects.update(role=Role.VIEWER)

    assert ask(bearer, call) == (403 if call == "create" else 200)


@pytest.mark.parametrize("call", CALLS)
def test_a_person_who_left_the_project_does_not_see_the_model(ask, person, call):
    client = person(Role.EDITOR)
    assert ask(client, call) in (200, 201)
    Membership.objects.all().delete()

    assert ask(client, call) == 404


@pytest.mark.parametrize("call", CALLS)
def test_a_person_whose_role_was_narrowed_reads_alone(ask, person, call):
    client = person(Role.EDITOR)
    assert ask(client, call) in (200, 201)
    Membership.objects.update(role=Role.VIEWER)

    assert ask(client, call) == (403 if call == "create" else 200)


@pytest.mark.parametrize("call", CALLS)
def test_a_person_who_was_deactivated_sees_nothing(ask, person, call):
    client = person(Role.EDITOR)
    assert ask(client, call) in (200, 201)
    User.objects.update(is_active=False)

    assert ask(client, call) in (401, 403)


def test_a_key_that_another_process_made_is_found_at_once(bearer, make_inference):
    path = f"{PATHS[0]}/inferences/count"
    camera = {"key": "camera", "type": "string", "operator": "=", "value": "north"}
    body = {"filters": {"metadata_filter": [camera]}}
    kind = "application/json"
    assert bearer.post(path, body, kind).json() == {"count": 0}
    make_inference({"camera": "north"})

    assert bearer.post(path, body, kind).json() == {"count": 1}
