"""The clients of Anthropic, Ollama and OpenAI, unchanged: what they got is what is stored."""

from __future__ import annotations

import json
import os

import orjson
import pytest

from inferences.models import TaskType
from proxy.tests.text_upstream import TextUpstream
from tests.foreign.environments import interpreter, run_inside

PACKAGES = ("anthropic==2.14.0", "ollama==0.6.3", "openai==3.57.0")

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.skipif(
        not os.environ.get("ISTORE_FOREIGN"), reason="ISTORE_FOREIGN is not set"
    ),
]


@pytest.fixture(scope="module")
def texts():
    server = TextUpstream()
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def told(proxied, store, texts):
    store.model(texts.url, "clients", task_type=TaskType.TEXT_GENERATION)
    python = interpreter("text-clients", PACKAGES)
    given = (proxied.url, store.secret, "clients")
    return json.loads(run_inside(python, "text_clients.py", *given))


def stored(proxied, name: str):
    marker = proxied.marker(name)
    assert marker["warnings"] == []
    request = orjson.loads(proxied.blob(marker["event"]["data_storage_key"]))
    return request, orjson.loads(proxied.answer(marker)), marker


@pytest.mark.parametrize("name", ["anthropic-whole", "anthropic-stream"])
def test_what_anthropics_client_got_is_stored_field_by_field(proxied, told, name):
    request, answer, marker = stored(proxied, name)
    assert request["messages"][0]["content"].startswith("A ship? 🚢")
    got = told[name]
    assert {each: answer[each] for each in ("id", "role", "model", "stop_reason")} == {
        each: got[each] for each in ("id", "role", "model", "stop_reason")
    }
    for block, own in zip(answer["content"], got["content"], strict=True):
        assert {n: own[n] for n in block} == block
    assert answer["usage"]["output_tokens"] == got["usage"]["output_tokens"]
    facts = {each["key"]: each["value"] for each in marker["metadata"]}
    assert facts["user_id"] == "u-1"


def test_the_key_of_the_server_goes_on_alone(told, texts, store):
    sent = [each.headers for each in texts.seen if each.path.endswith("/messages")]
    # Releases before 2 send the key as X-Api-Key, later ones as a Bearer token.
    keys = {each.get("x-api-key") or each.get("authorization") for each in sent}
    assert keys <= {"sk-ant", "Bearer sk-ant"}
    assert not any(store.secret in str(each.headers) for each in texts.seen)


def test_what_ollamas_client_got_is_stored(proxied, told):
    _, whole, _ = stored(proxied, "ollama-whole")
    got = told["ollama-whole"]
    assert got["message"] == whole["message"]
    assert got["eval_count"] == whole["eval_count"]
    _, streamed, _ = stored(proxied, "ollama-stream")
    assert streamed["message"]["content"] == told["ollama-stream"]
    _, generated, _ = stored(proxied, "ollama-generate")
    assert generated["response"] == told["ollama-generate"]["response"]


def test_what_openais_client_got_is_stored(proxied, told):
    _, answer, _ = stored(proxied, "openai-stream")
    (call,) = answer["choices"][0]["message"]["tool_calls"]
    assert call["function"] == told["openai-stream"]
    _, response, _ = stored(proxied, "openai-responses")
    (text,) = [
        part["text"]
        for item in response["output"]
        if item["type"] == "message"
        for part in item["content"]
    ]
    assert text == told["openai-responses"]
