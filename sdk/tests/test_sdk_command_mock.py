"""``istore mock``: what it sends, and what it prints."""

from __future__ import annotations

import base64
import io
import json
import sys

import pytest

pytest.importorskip("typer")

from test_sdk_command import home, istore  # noqa: F401

from inference_store import mocks

INTERFACE = {"endpoint": "generate", "outputSchema": {}}
SERVICE = {"id": "s1", "name": "text-completion", "interface": INTERFACE}
SESSION = {
    "id": "i1",
    "account": "a",
    "inferenceService": SERVICE,
    "status": "Ready",
    "expires": "2026-01-31T12:00:00Z",
    "proxyUrl": "http://proxy.example",
}
CREATED = {"inferencesession": SESSION, "token": "iss_secret"}


@pytest.fixture(autouse=True)
def no_proxy_of_the_environment(monkeypatch):
    monkeypatch.delenv("ISTORE_PROXY_URL", raising=False)


def test_the_list_needs_no_store(istore):  # noqa: F811
    status, out, err = istore("mock", "list")
    assert (status, err) == (0, "")
    names = [line.split("\t")[0] for line in out.splitlines()]
    assert names == list(mocks.registry)
    first = json.loads(istore("mock", "list", "--json")[1].splitlines()[0])
    assert set(first) == {"name", "title", "takes", "endpoint"}


def test_start_makes_a_service_and_a_session(istore, store):  # noqa: F811
    store.says((201, SERVICE), (201, CREATED))
    status, out, err = istore(
        *("mock", "start", "text-completion", "--account", "a", "--model", "m"),
        *("--seed", "3", "--latency", "0.5", "--replicas", "2", "--hours", "1"),
        *("--protocol", "openai"),
    )
    assert (status, err) == (0, "")
    described, asked = (json.loads(each.content) for each in store.requests)
    assert described == {
        "account": "a",
        "mock": "text-completion",
        "model_id": "m",
        "protocol": "openai",
        "options": {"seed": 3, "latency": 0.5},
    }
    assert asked["inferenceService"] == "s1"
    assert asked["replicas"] == 2
    assert asked["expires"].endswith("Z")
    told = dict(line.split("\t") for line in out.splitlines())
    assert told["session"] == "i1"
    assert told["token"] == "iss_secret"
    assert told["expires"] == "2026-01-31 12:00 UTC"


def test_call_asks_with_a_token_of_its_own(istore, store):  # noqa: F811
    store.says(SESSION, (201, {"token": "iss_other"}), SESSION, [{"text": "A ship"}])
    status, out, err = istore("mock", "call", "i1", "--text", "A")
    assert (status, err) == (0, "")
    assert json.loads(out) == {"text": "A ship"}
    assert store.last.url == (
        "http://proxy.example/api/v1/inferencesessions/i1/infer/generate"
    )
    assert store.last.headers["authorization"] == "Bearer iss_other"
    assert store.body == {"text": "A"}


def test_call_takes_json_a_pipe_or_a_picture(
    istore,  # noqa: F811
    store,
    tmp_path,
    monkeypatch,
):
    store.says(SESSION, SESSION, [{"label": "ship"}])
    istore("mock", "call", "i1", '{"text": "B"}', "--token", "iss_mine")
    assert store.body == {"text": "B"}
    assert store.last.headers["authorization"] == "Bearer iss_mine"
    store.says(SESSION, SESSION, [{"label": "ship"}])
    monkeypatch.setattr(sys, "stdin", io.StringIO('{"text": "C"}'))
    istore("mock", "call", "i1", "--token", "iss_mine")
    assert store.body == {"text": "C"}
    path = tmp_path / "a.png"
    path.write_bytes(b"picture")
    store.says(SESSION, SESSION, [{"label": "ship"}])
    istore("mock", "call", "i1", "--image", str(path), "--token", "iss_mine")
    assert base64.b64decode(store.body["image"]) == b"picture"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("{",), "The request is not JSON"),
        (("{}", "--text", "a"), "Give JSON, or --text, or --image."),
    ],
)
def test_a_request_that_is_none_is_not_sent(istore, store, given, said):  # noqa: F811
    status, _, err = istore("mock", "call", "i1", *given)
    assert status == 1 and said in err
    assert not store.requests


def test_stop_says_how_it_ended(istore, store):  # noqa: F811
    store.says({**SESSION, "status": "Terminated", "reason": "By token t."})
    assert istore("mock", "stop", "i1") == (0, "i1: Terminated. By token t.\n", "")
    assert store.path == "/api/v1/inferencesessions/i1/terminate"


def test_a_session_that_has_ended_is_one_line(istore, store):  # noqa: F811
    problem = {"code": "session-terminated", "detail": "The session has ended."}
    store.says(SESSION, (409, problem))
    status, _, err = istore("mock", "call", "i1", "--text", "A")
    assert (status, err.count("\n")) == (1, 1)
    assert "The session has ended." in err
