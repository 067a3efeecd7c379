from datetime import timedelta

import pytest

from istore.db.clock import now
from istore.models import AuditEntry, IdempotentCall, Project, Role
from services.models import InferenceSession, SessionToken, Status
from services.sessions import end_expired_sessions, note_failed, note_ready
from services.tests.conftest import closed_port

pytestmark = pytest.mark.django_db

PATH = "/api/v1/inferencesessions"


@pytest.fixture
def service(make_service):
    return make_service("url", url=f"http://127.0.0.1:{closed_port()}")


@pytest.fixture
def start(api, service):
    def post(**given):
        body = {"account": "team-b", "inferenceService": service.id.hex} | given
        return api.post(PATH, body)

    return post


def with_token(client, token: str):
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {token}")
    return client


def test_a_session_comes_with_the_token_that_reaches_it(start, service, api):
    response = start(replicas=2)
    assert response.status_code == 201
    told = response.json()
    session = told["inferencesession"]
    assert session["status"] == "Created"
    assert session["account"] == "team-b"
    assert session["replicas"] == 2
    assert session["inferenceService"]["id"] == service.id.hex
    assert session["inferenceService"]["interface"]["endpoint"] == "generate"
    assert told["token"] == told["session"]
    assert told["token"].startswith("iss_")
    assert api.get(f"{PATH}/{session['id']}").json() == session


def test_only_a_hash_of_the_token_is_kept(start):
    secret = start().json()["token"]
    (token,) = SessionToken.objects.all()
    assert len(bytes(token.digest)) == 32
    assert secret not in f"{token.prefix}{bytes(token.digest)!r}"
    assert secret.startswith(token.prefix) and len(token.prefix) < 16


def test_a_repeat_under_a_key_is_the_same_session_and_keeps_no_secret(api, service):
    body = {"account": "a", "inferenceService": service.id.hex}
    first, second = (
        api.post(PATH, body, headers={"Idempotency-Key": "once"}).json()
        for _ in range(2)
    )
    assert InferenceSession.objects.count() == 1
    assert first["inferencesession"]["id"] == second["inferencesession"]["id"]
    assert first["token"] != second["token"]
    kept = bytes(IdempotentCall.objects.get().content)
    assert b"iss_" not in kept
    for told in (first, second):
        assert told["token"].startswith("iss_")


def test_the_default_is_a_day_and_the_longest_is_a_setting(start, settings):
    settings.ISTORE_SESSION_HOURS_MAX = 48
    session = InferenceSession.objects.get(pk=start().json()["inferencesession"]["id"])
    assert session.expires_at - session.created_at > timedelta(hours=23)
    tomorrow = (now() + timedelta(hours=47)).isoformat()
    assert start(expires=tomorrow).status_code == 201
    for moment in (now() - timedelta(seconds=1), now() + timedelta(hours=49)):
        response = start(expires=moment.isoformat())
        assert response.status_code == 400
        assert response.json()["errors"][0]["pointer"] == "/expires"


@pytest.mark.parametrize(
    ("given", "pointer"),
    [
        ({"replicas": 0}, "/replicas"),
        ({"replicas": 9}, "/replicas"),
        ({"replicas": "2"}, "/replicas"),
        ({"expires": "soon"}, "/expires"),
        ({"colour": "red"}, "/colour"),
    ],
)
def test_what_is_not_right_is_refused_by_name(start, given, pointer):
    response = start(**given)
    assert response.status_code == 400
    assert response.json()["errors"][0]["pointer"] == pointer
    assert not InferenceSession.objects.exists()


def test_there_are_only_so_many_at_a_time(start, api, settings):
    settings.ISTORE_SESSIONS_OPEN = 2
    first = start().json()["inferencesession"]["id"]
    assert start().status_code == 201
    response = start()
    assert (response.status_code, response.json()["code"]) == (409, "too-many-sessions")
    api.post(f"{PATH}/{first}/terminate")
    assert start().status_code == 201


def test_a_service_of_another_project_is_not_there(api_as, service):
    foreign = api_as(Role.EDITOR, Project.objects.create(project_id="other"))
    body = {"account": "a", "inferenceService": service.id.hex}
    assert foreign.post(PATH, body).status_code == 400
    assert foreign.post(PATH, body | {"inferenceService": "0" * 32}).status_code == 400


def test_roles(api_as, service, start, client):
    session = start().json()["inferencesession"]["id"]
    viewer = api_as(Role.VIEWER)
    foreign = api_as(Role.EDITOR, Project.objects.create(project_id="other"))
    body = {"account": "a", "inferenceService": service.id.hex}
    assert viewer.post(PATH, body).status_code == 403
    assert viewer.get(f"{PATH}/{session}").status_code == 200
    assert viewer.get(f"{PATH}/{session}/ready").status_code == 202
    for path in ("token", "terminate", "infer/generate"):
        assert viewer.post(f"{PATH}/{session}/{path}").status_code == 403
        assert foreign.post(f"{PATH}/{session}/{path}").status_code == 404
        assert client.post(f"{PATH}/{session}/{path}").status_code == 401
    assert foreign.get(f"{PATH}/{session}").status_code == 404
    assert foreign.get(PATH).json()["results"] == []


def test_a_token_reaches_its_own_session_and_nothing_else(start, client, api_as):
    mine, other = start().json(), start().json()
    holder = with_token(api_as(), mine["token"])
    own, foreign = (each["inferencesession"]["id"] for each in (mine, other))
    assert holder.get(f"{PATH}/{own}").status_code == 200
    assert holder.get(f"{PATH}/{own}/ready").status_code == 202
    assert holder.post(f"{PATH}/{own}/infer/generate", {}).status_code == 503
    assert holder.get(f"{PATH}/{foreign}").status_code == 404
    assert holder.get(f"{PATH}/{foreign}/ready").status_code == 404
    assert holder.post(f"{PATH}/{foreign}/infer/generate", {}).status_code == 404
    for method, path in (
        ("get", PATH),
        ("post", PATH),
        ("post", f"{PATH}/{own}/terminate"),
        ("post", f"{PATH}/{own}/token"),
        ("get", "/api/v1/inferenceservices"),
        ("get", "/api/v1/models"),
    ):
        assert getattr(holder, method)(path, {}).status_code == 401, path


def test_a_further_token_may_end_sooner_and_never_later(start, api, api_as):
    session = InferenceSession.objects.get(pk=start().json()["inferencesession"]["id"])
    path = f"{PATH}/{session.id.hex}/token"
    sooner = session.expires_at - timedelta(hours=1)
    later = session.expires_at + timedelta(hours=1)
    api.post(path, {"expires": sooner.isoformat()})
    api.post(path, {"expires": later.isoformat()})
    api.post(path, {}, headers={"Idempotency-Key": "once"})
    ends = [each.expires_at for each in session.tokens.order_by("pk")]
    assert ends == [session.expires_at, sooner, *[session.expires_at] * 2]
    assert not IdempotentCall.objects.exists()
    past = (now() - timedelta(seconds=1)).isoformat()
    assert api.post(path, {"expires": past}).status_code == 400
    last = api.post(path, {}).json()["token"]
    holder = with_token(api_as(), last)
    assert holder.get(f"{PATH}/{session.id.hex}").status_code == 200


def test_an_expired_token_is_unknown(start, api_as):
    told = start().json()
    SessionToken.objects.update(expires_at=now() - timedelta(seconds=1))
    holder = with_token(api_as(), told["token"])
    path = f"{PATH}/{told['inferencesession']['id']}"
    assert holder.get(path).status_code == 401


def test_terminated_is_terminal(start, api):
    told = start().json()
    path = f"{PATH}/{told['inferencesession']['id']}"
    ended = api.post(f"{path}/terminate").json()
    assert ended["status"] == "Terminated"
    assert ended["reason"].startswith("By token test")
    assert api.post(f"{path}/terminate").json() == ended
    session = InferenceSession.objects.get()
    assert not note_ready(session)
    assert not note_failed(session, "too late")
    assert api.get(path).json() == ended
    for method, more in (
        ("get", "ready"),
        ("post", "infer/generate"),
        ("post", "token"),
    ):
        response = getattr(api, method)(f"{path}/{more}", {})
        assert response.status_code == 409
        assert response.json()["code"] == "session-terminated"
    actions = AuditEntry.objects.filter(subject=session.id.hex).order_by("id")
    assert [each.action for each in actions] == ["session.create", "session.terminate"]


def test_a_failed_session_says_why(start, api):
    path = f"{PATH}/{start().json()['inferencesession']['id']}"
    note_failed(InferenceSession.objects.get(), "The disk is full.")
    told = api.get(f"{path}/ready").json()
    assert told["code"] == "session-failed"
    assert told["detail"] == "The session failed. The disk is full."
    assert api.get(path).json()["reason"] == "The disk is full."
    assert api.post(f"{path}/terminate").json()["status"] == "Error"


def test_expiry_counts_at_once_and_is_written_down_by_the_beat(start, api):
    path = f"{PATH}/{start().json()['inferencesession']['id']}"
    InferenceSession.objects.update(
        expires_at=now() - timedelta(seconds=1), status=Status.READY
    )
    for method, more in (
        ("get", "ready"),
        ("post", "infer/generate"),
        ("post", "token"),
    ):
        response = getattr(api, method)(f"{path}/{more}", {})
        assert (response.status_code, response.json()["code"]) == (
            409,
            "session-terminated",
        )
    assert end_expired_sessions() == 1
    assert end_expired_sessions() == 0
    told = api.get(path).json()
    assert (told["status"], told["reason"]) == ("Terminated", "It expired.")


def test_a_call_of_another_endpoint_is_not_there(start, api):
    path = f"{PATH}/{start().json()['inferencesession']['id']}"
    assert api.post(f"{path}/infer/other", {}).status_code == 404


def test_a_proxy_that_is_gone_is_a_503(start, api, settings):
    settings.ISTORE_PROXY_INTERNAL_URL = f"http://127.0.0.1:{closed_port()}"
    path = f"{PATH}/{start().json()['inferencesession']['id']}"
    InferenceSession.objects.update(status=Status.READY)
    response = api.post(f"{path}/infer/generate", {})
    assert response.status_code == 503
    assert response.json()["code"] == "dependency-unavailable"
    assert response["Retry-After"]


def test_the_list_by_service_status_and_account(start, api, service):
    first = start(account="x").json()["inferencesession"]["id"]
    second = start(account="y").json()["inferencesession"]["id"]
    api.post(f"{PATH}/{first}/terminate")

    def ids(**query) -> list[str]:
        return [each["id"] for each in api.get(PATH, query).json()["results"]]

    assert ids() == [second, first]
    assert ids(status="Terminated") == [first]
    assert ids(account="y") == [second]
    assert ids(inferenceService=service.id.hex) == [second, first]
    assert ids(inferenceService="0" * 32) == []
    assert api.get(PATH, {"status": "Lost"}).status_code == 400


@pytest.mark.parametrize("session_id", ["a", "0" * 32, "0" * 400, "%00"])
def test_what_is_no_session_is_not_there(api, session_id):
    assert api.get(f"{PATH}/{session_id}").status_code == 404
    assert api.get(f"{PATH}/{session_id}/ready").status_code == 404
    assert api.post(f"{PATH}/{session_id}/infer/a", {}).status_code == 404
