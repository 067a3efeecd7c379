"""Calls with a token go past the middleware of pages, and are answered as those that do not."""

from __future__ import annotations

from http import HTTPStatus

import pytest

from istore.accounts.tokens import revoke_token
from istore.models import Role, Token

MODEL = "/api/v1/models/{}"
# A page of another origin goes the long way; no origin is allowed, so nothing else differs.
LONG_WAY = {"HTTP_ORIGIN": "https://elsewhere.example"}
OF_PAGES = ("django_session", "auth_user")

CALLS = [
    ("get", "", None),
    ("get", "/inferences?limit=1", None),
    ("get", "/inferences?nothing=1", None),
    ("get", "/inferences/absent", None),
    ("get", "/inferences/with%2Fslash", None),
    ("post", "/inferences/filter", {}),
    ("post", "/inferences/filter", {"nothing": 1}),
    ("post", "/inferences/count", {"limit": 1}),
    ("put", "/inferences/absent", {}),
    ("delete", "/inferences/absent", None),
    ("options", "/inferences", None),
]


def without_request_id(response):
    content = response.json() if response.content else None
    if isinstance(content, dict):
        content.pop("request_id", None)
    headers = dict(response.headers)
    assert headers.pop("X-Request-ID")
    return response.status_code, content, headers


@pytest.mark.parametrize(("method", "rest", "body"), CALLS)
def test_both_ways_answer_the_same(api, make_inference, method, rest, body):
    make_inference()
    path = MODEL.format(make_inference().registered_model.model_id) + rest
    short = getattr(api, method)(path, body)
    long = getattr(api, method)(path, body, **LONG_WAY)

    def comparable(response):
        status, content, headers = without_request_id(response)
        policy = headers.pop("Content-Security-Policy")
        headers.pop("Content-Length", None)  # of errors it has the request id
        return status, content, headers, sorted(policy.split("; "))

    assert comparable(short) == comparable(long)


def test_a_call_asks_nothing_of_sessions(api, model, django_assert_max_num_queries):
    with django_assert_max_num_queries(10) as asked:
        api.get(MODEL.format(model.model_id))
    statements = [each["sql"] for each in asked.captured_queries]
    assert statements
    assert not [sql for sql in statements if any(name in sql for name in OF_PAGES)]


@pytest.mark.parametrize("host", ["elsewhere.example", "a b"])
def test_another_host_is_refused(api, model, host):
    response = api.get(MODEL.format(model.model_id), HTTP_HOST=host)
    assert response.status_code == HTTPStatus.BAD_REQUEST


def test_a_revoked_token_ends_with_the_next_call(api, model):
    path = MODEL.format(model.model_id)
    assert api.get(path).status_code == HTTPStatus.OK
    revoke_token(Token.objects.get(), "test")
    assert api.get(path).status_code == HTTPStatus.UNAUTHORIZED


def test_another_role_holds_from_the_next_call(api, model):
    path = MODEL.format(model.model_id) + "/inference-server-settings"
    body = {"enable_inference_storage": True}
    assert api.patch(path, body).status_code == HTTPStatus.OK
    Token.objects.update(role=Role.VIEWER)
    assert api.patch(path, body).status_code == HTTPStatus.FORBIDDEN


def test_a_removed_model_is_absent_from_the_next_call(api, model):
    path = MODEL.format(model.model_id)
    assert api.get(path).status_code == HTTPStatus.OK
    model.delete()
    assert api.get(path).status_code == HTTPStatus.NOT_FOUND


def test_two_calls_of_one_path_do_not_share_what_the_first_left(api, model):
    path = f"/api/v1/projects/{model.project.project_id}/models/{model.model_id}"
    assert [api.get(path).status_code for _ in range(3)] == [HTTPStatus.OK] * 3
