"""Calls of sessions: through the proxy as a process, to servers that answer over HTTP."""

import orjson
import pytest
import requests

from inferences.models import TaskType
from proxy.tests.conftest import request_body, wait_until
from proxy.tests.openai_upstream import OpenAIUpstream, whole
from services.models import Status

pytestmark = pytest.mark.django_db

TEXTS = {
    "type": "array",
    "items": {
        "type": "object",
        "properties": {"text": {"type": "string"}},
        "required": ["text"],
    },
}


@pytest.fixture(scope="module")
def completions():
    server = OpenAIUpstream()
    server.start()
    yield server
    server.stop()


def url_of(server, protocol: str, **more) -> dict:
    return {"url": server.url, "protocol": protocol, **more}


def openai_session(store, server, **fields):
    given = {"endpoint": "v1/chat/completions"} | fields
    return store.session("url", url_of(server, "openai"), **given)


def test_a_json_server_is_asked_at_the_endpoint(proxied, store, upstream):
    session, secret = store.session("url", url_of(upstream, "json"))
    answer = proxied.call(session, secret, {"text": "a ship"}, params={"n": "2"})
    assert answer.status_code == 200
    assert answer.json()["model_name"] == "echo"
    assert answer.headers["Inference-Store"] == "off"
    seen = upstream.seen[-1]
    assert (seen.method, seen.path) == ("POST", "/generate?n=2")
    assert orjson.loads(seen.body) == {"text": "a ship"}
    assert "authorization" not in seen.headers


def test_a_v2_server_is_asked_for_its_model(proxied, store, upstream):
    configuration = url_of(upstream, "v2", model="echo")
    session, secret = store.session("url", configuration, endpoint="infer")
    answer = proxied.call(session, secret, request_body(id="v2"))
    assert answer.status_code == 200
    assert upstream.seen[-1].path == "/v2/models/echo/infer"


def test_a_call_is_stored_as_an_inference_of_the_model(proxied, store, upstream):
    store.model("", "texts", task_type=TaskType.TEXT_EMBEDDING)
    session, secret = store.session("url", url_of(upstream, "json"), model_id="texts")
    headers = {"Inference-Id": "call-1"}
    answer = proxied.call(session, secret, {"text": "a ship"}, headers=headers)
    assert answer.headers["Inference-Store"] == "recorded"
    assert answer.headers["Inference-Id"] == "call-1"
    marker = proxied.marker("call-1")
    event = marker["event"]
    assert event["model_id"] == "texts"
    assert marker["warnings"] == []
    assert marker["inference_action"] == "embed"
    assert orjson.loads(proxied.blob(event["data_storage_key"])) == {"text": "a ship"}
    assert proxied.blob(event["inference_storage_key"]) == answer.content
    assert marker["metadata"] == [
        {"key": "inference_session", "type": "string", "value": session.id.hex}
    ]


def test_a_v2_call_keeps_the_metadata_that_came_with_it(proxied, store, upstream):
    store.model("", "v2-stored")
    configuration = url_of(upstream, "v2", model="echo")
    session, secret = store.session(
        "url", configuration, endpoint="infer", model_id="v2-stored"
    )
    body = request_body(id="v2-call")
    given = [{"key": "camera", "type": "string", "value": "north"}]
    body["inputs"][0]["parameters"] = {"metadata": orjson.dumps(given).decode()}
    assert proxied.call(session, secret, body).status_code == 200
    marker = proxied.marker("v2-call")
    assert {each["key"] for each in marker["metadata"]} == {
        "camera",
        "inference_session",
    }
    assert marker["input"]["datatype"] == "BYTES"


def test_nothing_is_stored_while_the_model_says_no(proxied, store, upstream):
    store.model("", "silent-one", enable_inference_storage=False)
    session, secret = store.session(
        "url", url_of(upstream, "json"), model_id="silent-one"
    )
    answer = proxied.call(session, secret, {"text": "a ship"})
    assert answer.headers["Inference-Store"] == "off"


def test_a_model_of_another_project_is_never_stored_to(proxied, store, upstream):
    store.model("", "theirs", project=store.projects[1])
    session, secret = store.session("url", url_of(upstream, "json"), model_id="theirs")
    answer = proxied.call(session, secret, {"text": "a ship"})
    assert answer.headers["Inference-Store"] == "off"


def test_an_answer_that_does_not_fit_the_schema_is_refused(proxied, store, upstream):
    session, secret = store.session(
        "url", url_of(upstream, "json"), output_schema=TEXTS
    )
    answer = proxied.call(session, secret, {"text": "a ship"})
    assert answer.status_code == 502
    assert answer.headers["content-type"] == "application/problem+json"
    told = answer.json()
    assert told["code"] == "upstream-invalid-response"
    assert 'is not of type "array"' in told["detail"]


def test_an_answer_that_fits_the_schema_passes_unchanged(proxied, store, completions):
    schema = {"type": "object", "required": ["choices"]}
    session, secret = openai_session(store, completions, output_schema=schema)
    answer = proxied.call(session, secret, {"model": "m", "messages": []})
    assert answer.json() == whole(1)


def test_failures_of_the_server_pass_unchanged(proxied, store, completions):
    schema = {"type": "object", "required": ["choices"]}
    session, secret = openai_session(store, completions, output_schema=schema)
    answer = proxied.call(session, secret, {"model": "failing", "messages": []})
    assert answer.status_code == 429
    assert answer.json()["error"]["code"] == "rate_limit"


def test_a_token_reaches_its_session_alone(proxied, store, upstream):
    first, secret = store.session("url", url_of(upstream, "json"))
    second, _ = store.session("url", url_of(upstream, "json"))
    assert proxied.call(first, secret, {}).status_code == 200
    for session, shown, status, code in (
        (second, secret, 404, "not-found"),
        (first, "iss_" + "x" * 43, 401, "not-authenticated"),
        (first, store.foreign, 404, "not-found"),
        (first, store.viewer, 403, "permission-denied"),
        (second, store.viewer, 403, "permission-denied"),
    ):
        answer = proxied.call(session, shown, {})
        assert (answer.status_code, answer.json()["code"]) == (status, code)
    store.model(upstream.url, "beside")
    headers = {"Authorization": f"Bearer {secret}"}
    for model_id in ("beside", "absent"):
        answer = proxied.infer(model_id, headers=headers)
        assert answer.status_code == 403
        assert "that session alone" in answer.json()["error"]


def test_a_token_of_the_project_reaches_its_sessions(proxied, store, upstream):
    session, _ = store.session("url", url_of(upstream, "json"))
    assert proxied.call(session, store.secret, {}).status_code == 200


@pytest.mark.parametrize(
    ("status", "answered", "code"),
    [
        (Status.CREATED, 503, "session-starting"),
        (Status.ADMITTED, 503, "session-starting"),
    ],
)
def test_a_session_that_is_starting_asks_to_come_again(
    proxied, store, upstream, status, answered, code
):
    session, secret = store.session("url", url_of(upstream, "json"), status=status)
    answer = proxied.call(session, secret, {})
    assert (answer.status_code, answer.json()["code"]) == (answered, code)
    assert answer.headers["Retry-After"] == "1"


def test_a_session_that_was_terminated_is_not_called_any_more(proxied, store, upstream):
    from services.sessions import terminate_session

    session, secret = store.session("url", url_of(upstream, "json"))
    assert proxied.call(session, secret, {}).status_code == 200
    store.thread.submit(terminate_session, "test", session).result()
    wait_until(lambda: proxied.call(session, secret, {}).status_code == 409, 3)
    told = proxied.call(session, secret, {}).json()
    assert told["code"] == "session-terminated"
    assert "By test." in told["detail"]


@pytest.mark.parametrize(
    "path", ["infer/other", "infer/", "nothing", "infer/generate/more"]
)
def test_other_paths_of_a_session_are_not_there(proxied, store, upstream, path):
    session, secret = store.session("url", url_of(upstream, "json"))
    url = f"{proxied.url}/api/v1/inferencesessions/{session.id.hex}/{path}"
    headers = {"Authorization": f"Bearer {secret}"}
    assert requests.post(url, b"{}", headers=headers, timeout=10).status_code == 404


def test_a_server_that_is_gone_is_a_502(proxied, store, upstream):
    session, secret = store.session("url", {"url": "http://127.0.0.1:9"})
    answer = proxied.call(session, secret, {})
    assert (answer.status_code, answer.json()["code"]) == (502, "upstream-unavailable")


def test_silence_is_a_504(proxied, store, upstream):
    configuration = url_of(upstream, "v2", model="silent")
    session, secret = store.session("url", configuration, endpoint="infer")
    answer = proxied.call(session, secret, request_body())
    assert (answer.status_code, answer.json()["code"]) == (504, "upstream-timeout")


def test_a_mock_answers_and_is_stored(proxied, store):
    store.model("", "writer", task_type=TaskType.TEXT_EMBEDDING)
    session, secret = store.session(
        "mock", {"mock": "text-completion"}, model_id="writer"
    )
    headers = {"Inference-Id": "mocked"}
    answer = proxied.call(session, secret, {"text": "A ship"}, headers=headers)
    assert answer.headers["Inference-Store"] == "recorded"
    texts = answer.json()
    assert len(texts) == 2 and all(each["text"].startswith("A ship") for each in texts)
    again = proxied.call(session, secret, {"text": "A ship"})
    assert again.json() == texts
    assert proxied.answer(proxied.marker("mocked")) == answer.content


def test_a_mock_takes_its_time_and_fails_as_often_as_it_is_told(proxied, store):
    options = {"latency": 0.2, "jitter": 0.1, "error_rate": 0.5, "seed": 1}
    configuration = {"mock": "chat", "options": options}
    session, secret = store.session("mock", configuration)
    body = {"messages": [{"role": "user", "content": "A ship?"}]}
    answers = [proxied.call(session, secret, body) for _ in range(8)]
    assert {each.status_code for each in answers} == {200, 503}
    failed = next(each for each in answers if each.status_code == 503)
    assert failed.json()["code"] == "simulated-failure"
    for each in answers:
        assert each.elapsed.total_seconds() >= 0.2


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"{", "malformed-json"),
        (b'{"text": 3}', "validation-error"),
        (b"[]", "validation-error"),
    ],
)
def test_what_a_mock_cannot_answer_is_a_400(proxied, store, body, code):
    session, secret = store.session("mock", {"mock": "text-completion"})
    answer = proxied.call(session, secret, body)
    assert (answer.status_code, answer.json()["code"]) == (400, code)
