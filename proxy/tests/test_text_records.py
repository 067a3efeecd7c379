"""Calls by text APIs in the store: what the listener made of them, and how they are found."""

from __future__ import annotations

import orjson
import pytest
import redis

from inferences.models import RegisteredModel, TaskType
from inferences.search.filters import matching, text
from inferences.store.reading import find_inference
from proxy.tests.test_text_calls import ASKED, TOOLS, post
from proxy.tests.text_upstream import CALL, TEXT, TextUpstream
from proxy.tests.whole_store import WholeStore

pytestmark = pytest.mark.django_db

BASE = "/models/talker/v1"
STREAM = {"stream": True, "stream_options": {"include_usage": True}}


@pytest.fixture(scope="module")
def texts():
    server = TextUpstream()
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def whole(store, texts, tmp_path_factory):
    with redis.Redis.from_url(store.redis_url) as client:
        client.flushdb()
    store.model(
        texts.url, "talker", task_type=TaskType.TEXT_GENERATION, keep_failures=True
    )
    store.model(texts.url, "ranks", task_type=TaskType.RANKING)
    store.model(
        texts.url, "embeds", task_type=TaskType.TEXT_EMBEDDING, embedding_size=3
    )
    whole = WholeStore(store, tmp_path_factory.mktemp("whole"))
    try:
        yield whole.start()
    finally:
        whole.stop()


@pytest.fixture(scope="module")
def stored(store, whole):
    """One call of each kind, all in the store."""
    calls = {
        "chat": (f"{BASE}/chat/completions", {"user": "u-1", **ASKED}),
        "chat-stream": (f"{BASE}/chat/completions", {**STREAM, **ASKED}),
        "tool": (f"{BASE}/chat/completions", {"tools": TOOLS, **ASKED}),
        "response": (f"{BASE}/responses", {"input": "A ship?"}),
        "response-stream": (f"{BASE}/responses", {"input": "A?", "stream": True}),
        "message": (f"{BASE}/messages", {"max_tokens": 9, **ASKED}),
        "message-stream": (f"{BASE}/messages", {"stream": True, **ASKED}),
        "ollama": ("/models/talker/api/chat", ASKED),
        "generate": ("/v2/models/talker/generate", {"text_input": "A ship?"}),
        "refused": (f"{BASE}/chat/completions", {"model": "failing", **ASKED}),
        "erring": (
            f"{BASE}/chat/completions",
            {"model": "erring", "stream": True, **ASKED},
        ),
        "rank": ("/v1/rerank", {"model": "ranks", "query": "q", "documents": ["a"]}),
        "embed": ("/v1/embeddings", {"model": "embeds", "input": ["a", "bb"]}),
    }
    for name, (path, body) in calls.items():
        headers = {"Inference-Id": name, "Inference-Session": "s-1"}
        body = {"model": "m", **body}
        post(whole.proxies[0], store, path, body, headers=headers)
    whole.drain()
    return whole


def read(whole, model_id: str, inference_id: str):
    def find():
        model = RegisteredModel.objects.get(model_id=model_id)
        return find_inference(model, inference_id)

    return whole.run(find)


def ids(whole, query: str) -> set[str]:
    def ask():
        model = RegisteredModel.objects.get(model_id="talker")
        found = matching(model, text.parse(query))
        return set(found.values_list("inference_id", flat=True))

    return whole.run(ask)


SAID = ["chat", "chat-stream", "response", "response-stream", "message"]
SAID += ["message-stream", "ollama", "generate"]


@pytest.mark.parametrize("name", SAID)
def test_answers_of_every_api_are_understood(stored, name):
    found = read(stored, "talker", name)
    assert found.payload.notes.get("warnings", []) == []
    told = {key: value for key, (_, value) in found.payload.metadata.items()}
    assert told["prediction"] == TEXT
    assert told["conversation_id"] == "s-1"
    assert told.get("request_id") == "req-of-server"
    if name != "generate":
        assert told["completion_tokens"] == "5"
        assert float(told["tokens_per_second"]) > 0
    assert ("time_to_first_token" in told) == ("stream" in name or name == "ollama")


def test_tool_calls_rankings_and_embeddings_are_understood(stored):
    told = read(stored, "talker", "tool").payload.metadata
    assert CALL["name"] in told["prediction"][1]
    assert read(stored, "ranks", "rank").payload.notes.get("warnings", []) == []
    for number in range(2):
        found = read(stored, "embeds", f"embed-{number}")
        assert found.payload.notes.get("warnings", []) == []


def test_failed_calls_are_found_by_their_status(stored):
    assert ids(stored, "status:failed") == {"refused", "erring"}
    assert ids(stored, "status:429") == ids(stored, "status:4xx") == {"refused"}
    assert ids(stored, "status:error") == {"erring"}
    assert ids(stored, "status:5xx") == set()
    assert "chat" in ids(stored, "status:ok conversation:s-1")
    assert ids(stored, 'meta.user_id="u-1"') == {"chat"}
    refused = read(stored, "talker", "refused").payload
    assert refused.notes["failure"] == "status"
    assert refused.notes["answer"]["status"] == 429
    assert "warnings" not in refused.notes
    assert "prediction" not in refused.metadata
    assert orjson.loads(refused.data)["error"]["code"] == "busy"
