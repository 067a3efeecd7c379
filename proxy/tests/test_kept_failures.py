"""Calls that failed, of models that keep them, and streams that broke off."""

from __future__ import annotations

import orjson
import pytest
import requests

from inferences.models import TaskType
from proxy.tests.conftest import request_body
from proxy.tests.test_text_calls import ASKED, answer_in, facts, post, request_of
from proxy.tests.text_upstream import CUT, ERROR, TEXT, TextUpstream, answer_of

pytestmark = pytest.mark.django_db

CHAT = "/models/keeping/v1/chat/completions"


@pytest.fixture(scope="module")
def texts():
    server = TextUpstream()
    server.start()
    yield server
    server.stop()


@pytest.fixture
def keeping(store, texts):
    return store.model(
        texts.url, "keeping", task_type=TaskType.TEXT_GENERATION, keep_failures=True
    )


def kept(proxied, store, name: str, model: str, path: str = CHAT, **body):
    """The answer to a call that fails, and the marker of its record."""
    given = {"model": model, **ASKED, **body}
    answer = post(proxied, store, path, given, headers={"Inference-Id": name})
    assert answer.headers["Inference-Store"] == "recorded"
    assert answer.headers["Inference-Id"] == name
    marker = proxied.marker(name)
    assert request_of(proxied, marker) == given
    assert proxied.answer(marker) == answer.content
    assert marker["answer"]["status"] == answer.status_code
    return answer, marker


def test_an_error_status_is_kept_as_the_caller_got_it(proxied, store, keeping):
    answer, marker = kept(proxied, store, "f-429", "failing")
    assert answer.status_code == 429
    assert answer.json()["error"] == ERROR
    assert answer.headers["Retry-After"] == "7"
    assert marker["failure"] == "status"
    assert marker["warnings"] == []


def test_an_error_that_comes_as_a_page_is_kept(proxied, store, keeping):
    answer, marker = kept(proxied, store, "f-502", "lost")
    assert answer.content == b"<h1>Bad gateway</h1>"
    assert marker["answer"]["content_type"].startswith("text/html")
    assert marker["failure"] == "status"


@pytest.mark.parametrize(
    ("path", "member"),
    [
        (CHAT, "message"),
        ("/models/keeping/v1/messages", "message"),
        ("/models/keeping/api/chat", None),
    ],
)
def test_a_server_that_does_not_answer_in_time_is_kept(
    proxied, store, keeping, path, member
):
    name = f"f-late-{path.rpartition('/')[2]}"
    answer, marker = kept(proxied, store, name, "silent", path)
    assert answer.status_code == 504
    error = answer.json()["error"]
    assert "in time" in (error[member] if member else error)
    assert marker["failure"] == "timeout"


def test_an_answer_that_breaks_off_is_kept_as_the_error(proxied, store, keeping):
    answer, marker = kept(proxied, store, "f-torn", "torn")
    assert answer.status_code == 502
    assert answer.json()["error"]["code"] == "upstream-invalid-response"
    assert marker["failure"] == "broken-off"


def test_a_server_that_is_not_there_is_kept(proxied, store):
    store.model(
        "http://127.0.0.1:9", "keeping", task_type="Text Generation", keep_failures=True
    )
    answer, marker = kept(proxied, store, "f-away", "m")
    assert answer.status_code == 502
    assert marker["failure"] == "unavailable"


def test_the_setting_counts_for_the_open_inference_protocol_too(
    proxied, store, upstream
):
    for name, failure in (("failing", "status"), ("silent", "timeout")):
        store.model(upstream.url, name, keep_failures=True)
        answer = proxied.infer(name, request_body(id=f"v2-{name}"))
        assert answer.headers["Inference-Store"] == "recorded"
        marker = proxied.marker(f"v2-{name}")
        assert marker["failure"] == failure
        assert proxied.answer(marker) == answer.content


def test_nothing_of_a_failure_is_kept_without_the_setting(proxied, store, texts):
    store.model(texts.url, "keeping", task_type="Text Generation", keep_failures=False)
    for model, status in (("failing", 429), ("torn", 502)):
        answer = post(proxied, store, CHAT, {"model": model, **ASKED})
        assert answer.status_code == status
        assert answer.headers.get("Inference-Store") != "recorded"


# -- streams

STREAMS = {
    "chat": (CHAT, {}),
    "tools": (CHAT, {"tools": [{"type": "function"}]}),
    "responses": ("/models/keeping/v1/responses", {"input": "A ship?"}),
    "messages": ("/models/keeping/v1/messages", {"max_tokens": 9}),
    "ollama": ("/models/keeping/api/chat", {}),
}


@pytest.mark.parametrize("form", STREAMS)
@pytest.mark.parametrize("share", [0.02, 0.3, 0.55, 0.83, 0.99])
def test_a_stream_broken_off_at_any_byte_is_kept_as_far_as_it_came(
    proxied, store, keeping, form, share
):
    path, body = STREAMS[form]
    body = {"stream": True, **ASKED, **body}
    _, pieces = answer_of(path, {"model": "m", **body})
    stream = b"".join(pieces)
    end = max(1, int(len(stream) * share))
    name = f"cut-{form}-{share}"
    headers = {
        "Authorization": f"Bearer {store.secret}",
        "Inference-Id": name,
    }
    given = {"model": f"{CUT}{end}", **body}
    came = b""
    with (
        requests.post(
            proxied.url + path, json=given, headers=headers, stream=True, timeout=30
        ) as answer,
        pytest.raises(requests.exceptions.RequestException),
    ):
        assert answer.headers["Inference-Store"] == "streaming"
        for piece in answer.iter_content(None):
            came += piece
    assert stream.startswith(came)
    marker = proxied.marker(name)
    assert marker["failure"] == "broken-off"
    assert facts(marker)["stream"] == "partial"
    assert "The stream broke off." in marker["warnings"][0]
    if marker["answer"]["content_type"] != "application/json":
        # What was not understood wholly, here a cut event, is kept byte for byte.
        assert proxied.answer(marker) == stream[:end]
    else:
        assert answer_in(proxied, marker)


def test_a_stream_with_an_error_event_is_kept_with_what_came(proxied, store, keeping):
    body = {"model": "erring", "stream": True, **ASKED}
    answer = post(proxied, store, CHAT, body, headers={"Inference-Id": "f-event"})
    assert answer.ok
    marker = proxied.marker("f-event")
    assert marker["failure"] == "error"
    assert ERROR["message"] in marker["warnings"][0]
    found = answer_in(proxied, marker)
    assert TEXT.startswith(found["choices"][0]["message"]["content"])
    assert found["error"] == ERROR


def test_a_client_that_leaves_is_no_failure(proxied, store, keeping):
    body = {"model": "slow", "stream": True, **ASKED}
    headers = {"Authorization": f"Bearer {store.secret}", "Inference-Id": "f-left"}
    with requests.post(
        proxied.url + CHAT, json=body, headers=headers, stream=True, timeout=30
    ) as answer:
        next(answer.iter_content(None))
    marker = proxied.marker("f-left")
    assert "failure" not in marker
    assert facts(marker)["stream"] == "partial"
    assert orjson.loads(proxied.answer(marker))["object"] == "chat.completion"


def test_the_setting_counts_for_calls_of_sessions(proxied, store, texts, keeping):
    configuration = {"url": texts.url, "protocol": "openai"}
    session, secret = store.session(
        "url", configuration, endpoint="v1/chat/completions", model_id="keeping"
    )
    for model, failure in (("failing", "status"), ("torn", "broken-off")):
        headers = {"Inference-Id": f"session-{model}"}
        body = {"model": model, **ASKED}
        answer = proxied.call(session, secret, body, headers=headers)
        assert answer.headers["Inference-Store"] == "recorded"
        marker = proxied.marker(f"session-{model}")
        assert marker["failure"] == failure
        assert proxied.answer(marker) == answer.content
    assert answer.headers["Content-Type"] == "application/problem+json"
