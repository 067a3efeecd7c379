"""Calls by text APIs, through the proxy as a process, with ``openai`` as a client unchanged."""

from __future__ import annotations

import base64
import time

import openai
import orjson
import pytest
import requests

from inferences.models import TaskType
from proxy.tests.text_upstream import CALL, TEXT, TextUpstream, answer_of

pytestmark = pytest.mark.django_db

ASKED = {"messages": [{"role": "user", "content": "A ship?"}]}
TOOL = {"name": CALL["name"], "parameters": {"type": "object", "properties": {}}}
TOOLS = [{"type": "function", "function": TOOL}]


@pytest.fixture(scope="module")
def texts():
    server = TextUpstream()
    server.start()
    yield server
    server.stop()


@pytest.fixture
def chat(store, texts):
    return store.model(texts.url, "support/bot", task_type=TaskType.TEXT_GENERATION)


@pytest.fixture
def client(proxied, store, chat):
    """The package, with nothing but an address and a key."""
    base = f"{proxied.url}/models/support/bot/v1"
    with openai.OpenAI(api_key=store.secret, base_url=base, max_retries=0) as client:
        yield client


def named(inference_id: str) -> dict:
    return {"extra_headers": {"Inference-Id": inference_id}}


def facts(marker) -> dict[str, str]:
    return {each["key"]: each["value"] for each in marker["metadata"]}


def request_of(proxied, marker) -> dict:
    return orjson.loads(proxied.blob(marker["event"]["data_storage_key"]))


def answer_in(proxied, marker) -> dict:
    return orjson.loads(proxied.answer(marker))


def post(proxied, store, path: str, body: dict, **options) -> requests.Response:
    headers = {"Authorization": f"Bearer {store.secret}"} | options.pop("headers", {})
    headers = {name: value for name, value in headers.items() if value is not None}
    return requests.post(
        proxied.url + path, json=body, headers=headers, timeout=30, **options
    )


# -- OpenAI


def test_a_chat_is_recorded_with_nothing_but_another_address(
    client, proxied, chat, texts
):
    response = client.chat.completions.with_raw_response.create(
        model="gpt-x",
        user="user-7",
        metadata={"team": "search", "session_id": "s-1"},
        **ASKED,
        **named("chat-1"),
    )
    assert response.headers["Inference-Store"] == "recorded"
    assert response.parse().choices[0].message.content == TEXT
    seen = texts.seen[-1]
    assert seen.path == "/v1/chat/completions"
    assert "authorization" not in seen.headers
    marker = proxied.marker("chat-1")
    assert proxied.blob(marker["event"]["data_storage_key"]) == seen.body
    assert proxied.answer(marker) == response.content
    assert marker["event"]["model_id"] == "support/bot"
    assert marker["warnings"] == []
    told = facts(marker)
    assert marker["request_id"] == "req-of-server"
    assert told == {
        "user_id": "user-7",
        "conversation_id": "s-1",
        "team": "search",
        "model_version": "echo-1",
        "finish_reason": "stop",
        "prompt_tokens": "3",
        "completion_tokens": "5",
        "total_tokens": "8",
    }


def test_the_model_may_be_named_in_the_body(proxied, store, chat, texts):
    base = f"{proxied.url}/v1"
    with openai.OpenAI(api_key=store.secret, base_url=base, max_retries=0) as client:
        client.chat.completions.create(model="support/bot", **ASKED, **named("body-1"))
        assert proxied.marker("body-1")["event"]["model_id"] == "support/bot"
        with pytest.raises(openai.NotFoundError) as caught:
            client.chat.completions.create(model="absent", **ASKED)
    assert caught.value.code == "model_not_found"
    assert orjson.loads(texts.seen[-1].body)["model"] == "support/bot"


def test_a_model_is_asked_by_its_name_at_the_server(proxied, store, texts):
    store.model(
        texts.url,
        "renamed",
        task_type=TaskType.TEXT_GENERATION,
        upstream_model='gpt "x"',
    )
    body = b'{"model" : "renamed", "n":1, "messages": [{"role":"user","content":"\\"model\\":1"}], "seed": 1.50}'
    headers = {"Authorization": f"Bearer {store.secret}"}
    url = f"{proxied.url}/v1/chat/completions"
    assert requests.post(url, body, headers=headers, timeout=30).status_code == 200
    assert texts.seen[-1].body == body.replace(b'"renamed"', b'"gpt \\"x\\""')
    # Another name is the server's own, and goes on as it came.
    post(proxied, store, "/models/renamed/v1/chat/completions", {"model": "z", **ASKED})
    assert orjson.loads(texts.seen[-1].body)["model"] == "z"
    # Where the name stands twice, the member of the body is the one that changes.
    twice = {"tools": [{"model": "renamed"}], "model": "renamed", **ASKED}
    post(proxied, store, "/v1/chat/completions", twice)
    assert orjson.loads(texts.seen[-1].body) == {**twice, "model": 'gpt "x"'}


def test_metadata_is_not_forwarded_where_the_model_says_so(proxied, store, texts):
    store.model(
        texts.url,
        "stripped",
        task_type=TaskType.TEXT_GENERATION,
        strip_metadata=True,
    )
    body = {"model": "stripped", "metadata": {"team": "x"}, **ASKED}
    headers = {"Inference-Id": "stripped-1"}
    post(proxied, store, "/v1/chat/completions", body, headers=headers)
    assert "metadata" not in orjson.loads(texts.seen[-1].body)
    marker = proxied.marker("stripped-1")
    assert request_of(proxied, marker) == body
    assert facts(marker)["team"] == "x"


def test_headers_name_user_session_and_metadata(client, proxied):
    headers = {
        "Inference-Id": "headers-1",
        "Inference-User": "J%C3%BCrgen",
        "Inference-Session": "s-9",
        "Inference-Metadata": '{"tier": 3, "is_test": true, "nested": {"a": [1]}}',
    }
    client.chat.completions.create(
        model="m", user="other", **ASKED, extra_headers=headers
    )
    marker = proxied.marker("headers-1")
    told = {each["key"]: (each["type"], each["value"]) for each in marker["metadata"]}
    assert told["user_id"] == ("string", "Jürgen")
    assert told["conversation_id"] == ("string", "s-9")
    assert told["tier"] == ("int", "3")
    assert told["is_test"] == ("string", "true")
    assert told["nested"][0] == "json"
    headers |= {"Inference-Id": "headers-2", "Inference-Metadata": "team=x"}
    client.chat.completions.create(model="m", **ASKED, extra_headers=headers)
    (warning,) = proxied.marker("headers-2")["warnings"]
    assert "Inference-Metadata" in warning


@pytest.mark.parametrize("model", ["fast", "reasoning", "refusing"])
def test_a_stream_is_kept_as_the_answer_that_would_have_come_whole(
    client, proxied, model
):
    stream = client.chat.completions.create(
        model=model,
        stream=True,
        stream_options={"include_usage": True},
        **ASKED,
        **named(f"stream-{model}"),
    )
    pieces: dict[str, str] = {}
    for chunk in stream:
        for choice in chunk.choices:
            for name, value in choice.delta.model_dump(exclude_none=True).items():
                if isinstance(value, str) and name != "role":
                    pieces[name] = pieces.get(name, "") + value
    marker = proxied.marker(f"stream-{model}")
    answer = answer_in(proxied, marker)
    (choice,) = answer["choices"]
    assert {n: choice["message"][n] for n in pieces} == pieces
    assert answer["usage"]["completion_tokens"] == 5
    told = facts(marker)
    assert told["stream"] == "complete"
    assert float(told["time_to_first_token"]) > 0
    assert marker["request_id"] == "req-of-server"
    assert marker["warnings"] == []


def test_chunks_leave_as_they_come(client):
    began = time.monotonic()
    arrived = []
    for _ in client.chat.completions.create(model="slow", stream=True, **ASKED):
        arrived.append(time.monotonic() - began)
        if len(arrived) == 4:
            break
    assert arrived[3] - arrived[0] > 0.4


@pytest.mark.parametrize("is_stream", [False, True])
def test_tool_calls_are_kept_whole(client, proxied, is_stream):
    name = f"tools-{is_stream}"
    made = client.chat.completions.create(
        model="m", tools=TOOLS, stream=is_stream, **ASKED, **named(name)
    )
    if is_stream:
        assert list(made)
    answer = answer_in(proxied, proxied.marker(name))
    (call,) = answer["choices"][0]["message"]["tool_calls"]
    assert call == {"id": "call-1", "type": "function", "function": CALL}
    assert facts(proxied.marker(name))["finish_reason"] == "tool_calls"


def test_the_audio_of_a_stream_is_one_whole(client, proxied):
    stream = client.chat.completions.create(
        model="m",
        modalities=["text", "audio"],
        audio={"voice": "x", "format": "pcm16"},
        stream=True,
        **ASKED,
        **named("audio-1"),
    )
    assert list(stream)
    answer = answer_in(proxied, proxied.marker("audio-1"))
    audio = answer["choices"][0]["message"]["audio"]
    assert base64.b64decode(audio["data"], validate=True) == bytes(range(4))
    assert audio["transcript"] == "A ship"


@pytest.mark.parametrize("is_stream", [False, True])
def test_responses_are_kept_whole(client, proxied, is_stream):
    name = f"responses-{is_stream}"
    made = client.responses.create(
        model="m",
        input="A ship?",
        tools=[{**TOOL, "type": "function"}],
        stream=is_stream,
        **named(name),
    )
    if is_stream:
        kinds = [event.type for event in made]
        assert kinds[-1] == "response.completed"
    else:
        assert made.output_text == TEXT
    marker = proxied.marker(name)
    body = request_of(proxied, marker)
    assert answer_in(proxied, marker) == answer_of(
        "/responses", {**body, "stream": False}
    )
    assert facts(marker)["completion_tokens"] == "5"
    assert marker["warnings"] == []


def test_embeddings_are_one_record_for_each_text(proxied, store, texts):
    store.model(
        texts.url, "embedder", task_type=TaskType.TEXT_EMBEDDING, embedding_size=3
    )
    base = f"{proxied.url}/models/embedder/v1"
    with openai.OpenAI(api_key=store.secret, base_url=base, max_retries=0) as client:
        made = client.embeddings.create(model="m", input=["a", "bb"], **named("emb"))
        single = client.embeddings.create(model="m", input="ccc", **named("one"))
    assert [row.embedding for row in sorted(made.data, key=lambda r: r.index)] == [
        [1.0, 0.0, 0.5],
        [2.0, 1.0, 0.5],
    ]
    assert len(single.data) == 1
    # The package asks for base64, which is what is stored.
    for number, text in enumerate(("a", "bb")):
        marker = proxied.marker(f"emb-{number}")
        assert request_of(proxied, marker)["input"] == text
        assert request_of(proxied, marker)["encoding_format"] == "base64"
        (row,) = answer_in(proxied, marker)["data"]
        assert isinstance(row["embedding"], str)
    assert proxied.marker("one")["request_part"] == [0, 1]


def test_completions_and_rerank_are_recorded(client, proxied, store, texts):
    client.completions.create(model="m", prompt="A ship", **named("completion-1"))
    assert facts(proxied.marker("completion-1"))["finish_reason"] == "length"
    store.model(texts.url, "ranker", task_type=TaskType.RANKING)
    body = {"model": "ranker", "query": "ship", "documents": ["a", "a ship"]}
    headers = {"Inference-Id": "ranked-1"}
    answer = post(proxied, store, "/v1/rerank", body, headers=headers)
    assert answer.json()["results"][0]["index"] == 1
    assert answer_in(proxied, proxied.marker("ranked-1")) == answer.json()


def test_models_are_listed_as_clients_read_them(client, proxied, store, chat):
    assert [each.id for each in client.models.list()] == ["support/bot"]
    assert client.models.retrieve("anything").id == "support/bot"
    headers = {"Authorization": f"Bearer {store.secret}"}
    listed = requests.get(f"{proxied.url}/v1/models", headers=headers, timeout=30)
    names = {each["id"] for each in listed.json()["data"]}
    assert "support/bot" in names
    one = requests.get(
        f"{proxied.url}/v1/models/support%2Fbot", headers=headers, timeout=30
    ).json()
    assert (one["id"], one["object"], one["ready"]) == ("support/bot", "model", True)
    foreign = {"Authorization": f"Bearer {store.foreign}"}
    theirs = requests.get(f"{proxied.url}/v1/models", headers=foreign, timeout=30)
    assert theirs.json()["data"] == []
    tags = requests.get(f"{proxied.url}/api/tags", headers=headers, timeout=30)
    assert {"support/bot"} <= {each["model"] for each in tags.json()["models"]}


# -- which key goes where


@pytest.mark.parametrize(
    ("sent", "forwarded"),
    [
        ({"Authorization": "Bearer {token}"}, {}),
        ({"X-Api-Key": "{token}"}, {}),
        (
            {"Authorization": "Bearer {token}:sk-1"},
            {"authorization": "Bearer sk-1"},
        ),
        ({"X-Api-Key": "{token}:sk-1"}, {"x-api-key": "sk-1"}),
        (
            {
                "Authorization": "Bearer {token}",
                "Upstream-Authorization": "Bearer sk-2",
                "Upstream-X-Api-Key": "sk-3",
            },
            {"authorization": "Bearer sk-2", "x-api-key": "sk-3"},
        ),
        (
            {
                "Authorization": "Bearer {token}:sk-1",
                "Upstream-Authorization": "Bearer sk-2",
            },
            {"authorization": "Bearer sk-2"},
        ),
        ({"Authorization": "Bearer {token}", "X-Api-Key": "{token}"}, {}),
    ],
)
def test_the_callers_key_is_passed_on_and_the_token_never(
    proxied, store, chat, texts, sent, forwarded
):
    headers = {name: value.format(token=store.secret) for name, value in sent.items()}
    headers.setdefault("Authorization", None)
    path = "/models/support%2Fbot/v1/chat/completions"
    answer = post(proxied, store, path, {"model": "m", **ASKED}, headers=headers)
    assert answer.status_code == 200
    seen = texts.seen[-1].headers
    names = ("authorization", "x-api-key")
    assert {n: seen[n] for n in names if n in seen} == forwarded
    assert not any(store.secret in value for value in seen.values())


def test_a_token_is_needed_before_a_body_is_read(proxied, store, chat):
    for headers, status in (
        ({"Authorization": None}, 401),
        ({"Authorization": "Bearer ist_wrong"}, 401),
        ({"Authorization": None, "X-Api-Key": "ist_wrong:sk"}, 401),
        ({"Authorization": f"Bearer {store.viewer}"}, 403),
        ({"Authorization": f"Bearer {store.foreign}"}, 404),
    ):
        for path in ("/v1/chat/completions", "/models/support%2Fbot/v1/messages"):
            body = {"model": "support/bot", **ASKED}
            answer = post(proxied, store, path, body, headers=headers)
            assert answer.status_code == status, (headers, path)


# -- errors


def test_errors_have_the_form_of_the_api_that_was_called(proxied, store, chat):
    def error(path: str, body: dict, **headers: str) -> dict:
        answer = post(proxied, store, path, body, headers=headers)
        assert answer.status_code == 404, path
        return answer.json()

    body = {"model": "absent", **ASKED}
    openai_error = error("/v1/chat/completions", body)["error"]
    assert openai_error["code"] == "model_not_found"
    assert openai_error["type"] == "invalid_request_error"
    anthropic_error = error("/v1/messages", body)
    assert anthropic_error["type"] == "error"
    assert anthropic_error["error"]["type"] == "not_found_error"
    assert isinstance(error("/api/chat", body)["error"], str)
    assert isinstance(error("/v1/models/absent:predict", body)["error"], str)
    unknown = error("/v1/files", body, **{"Anthropic-Version": "2023-06-01"})
    assert unknown["error"]["type"] == "not_found_error"
    assert error("/models/support%2Fbot/v1/files", body)["error"]["message"]
    nameless = post(proxied, store, "/v1/chat/completions", ASKED)
    assert nameless.status_code == 400
    assert nameless.json()["error"]["code"] == "model-missing"
    get = requests.get(
        f"{proxied.url}/v1/chat/completions",
        headers={"Authorization": f"Bearer {store.secret}"},
        timeout=30,
    )
    assert (get.status_code, get.headers["Allow"]) == (405, "POST")


def test_an_error_of_the_server_passes_with_its_headers(client):
    with pytest.raises(openai.RateLimitError) as caught:
        client.chat.completions.create(model="failing", **ASKED)
    error = caught.value
    assert error.code == "busy"
    headers = error.response.headers
    assert headers["Retry-After"] == "7"
    assert headers["X-RateLimit-Remaining-Requests"] == "0"
    assert "X-Secret" not in headers
    assert headers["Inference-Store"] == "not-recorded; reason=upstream-status"


# -- Anthropic, Ollama, KServe, Triton


def test_messages_are_kept_whole(proxied, store, chat, texts):
    body = {"model": "claude", "max_tokens": 9, "stream": True, **ASKED}
    body |= {"metadata": {"user_id": "u-1"}, "tools": [{"name": "find_ship"}]}
    headers = {
        "Authorization": None,
        "X-Api-Key": f"{store.secret}:sk-ant",
        "Anthropic-Version": "2023-06-01",
        "Inference-Id": "messages-1",
    }
    path = "/models/support%2Fbot/v1/messages"
    answer = post(proxied, store, path, body, headers=headers)
    _, pieces = answer_of(path, body)
    assert answer.content == b"".join(pieces)
    seen = texts.seen[-1]
    assert seen.headers["anthropic-version"] == "2023-06-01"
    assert seen.headers["x-api-key"] == "sk-ant"
    marker = proxied.marker("messages-1")
    assert answer_in(proxied, marker) == answer_of(path, {**body, "stream": False})
    told = facts(marker)
    assert (told["user_id"], told["completion_tokens"]) == ("u-1", "5")
    assert (told["finish_reason"], told["stream"]) == ("end_turn", "complete")
    counted = post(proxied, store, f"{path}/count_tokens", body)
    assert counted.json() == {"input_tokens": 3}
    assert counted.headers["Inference-Store"] == "off"


@pytest.mark.parametrize("kind", ["chat", "generate"])
def test_ollama_is_kept_whole(proxied, store, chat, kind):
    given = ASKED if kind == "chat" else {"prompt": "A ship?"}
    for is_stream in (True, False):
        name = f"ollama-{kind}-{is_stream}"
        body = {"model": "support/bot", **given}
        body |= {} if is_stream else {"stream": False}
        answer = post(
            proxied, store, f"/api/{kind}", body, headers={"Inference-Id": name}
        )
        assert answer.ok
        marker = proxied.marker(name)
        whole = answer_of(f"/api/{kind}", {**body, "stream": False})
        assert answer_in(proxied, marker) == whole
        told = facts(marker)
        assert told["completion_tokens"] == "5"
        assert told["finish_reason"] == "stop"
        assert ("stream" in told) == is_stream


def test_kserve_v1_and_tritons_generate_are_recorded(proxied, store, texts):
    store.model(texts.url, "v1/iris:2", task_type=TaskType.TABULAR_CLASSIFICATION)
    path = "/v1/models/v1%2Firis:2:predict"
    headers = {"Inference-Id": "predict-1"}
    body = {"instances": [[1, 2], [3, 4]]}
    answer = post(proxied, store, path, body, headers=headers)
    assert answer.json() == {"predictions": [2]}
    assert texts.seen[-1].path == "/v1/models/v1%2Firis%3A2:predict"
    assert request_of(proxied, proxied.marker("predict-1")) == body

    store.model(texts.url, "llm", task_type=TaskType.TEXT_GENERATION)
    for ending in ("generate", "versions/3/generate_stream"):
        name = f"triton-{ending[-6:]}"
        body = {"text_input": "A ship?", "parameters": {"stream": True}}
        path = f"/v2/models/llm/{ending}"
        answer = post(proxied, store, path, body, headers={"Inference-Id": name})
        assert answer.ok
        assert answer_in(proxied, proxied.marker(name))["text_output"] == TEXT
    assert any("/versions/3/" in each.path for each in texts.seen)


def test_config_and_stats_pass_through(proxied, store, upstream):
    store.model(upstream.url, "described")
    headers = {"Authorization": f"Bearer {store.secret}"}
    for ending in ("config", "stats", "versions/1/stats"):
        url = f"{proxied.url}/v2/models/described/{ending}"
        assert requests.get(url, headers=headers, timeout=30).ok
        assert upstream.seen[-1].path.endswith(ending.rpartition("/")[2])


# -- addresses of servers


@pytest.mark.parametrize(
    ("base", "path"),
    [
        ("", "/v1/chat/completions"),
        ("/v1", "/v1/chat/completions"),
        ("/openai/v1/", "/openai/v1/chat/completions"),
        ("/v1beta/openai", "/v1beta/openai/chat/completions"),
        ("/gateway", "/gateway/v1/chat/completions"),
    ],
)
def test_a_version_in_the_servers_address_is_not_doubled(
    proxied, store, texts, base, path
):
    store.model(texts.url + base, "based", task_type=TaskType.TEXT_GENERATION)
    post(proxied, store, "/v1/chat/completions", {"model": "based", **ASKED})
    assert texts.seen[-1].path == path


# -- a large prompt


def test_a_large_prompt_is_kept_whole(proxied, store, chat):
    text = "Ø" * 80_000 + "😀"
    body = {"model": "support/bot", "messages": [{"role": "user", "content": text}]}
    headers = {"Inference-Id": "large-1"}
    answer = post(proxied, store, "/v1/chat/completions", body, headers=headers)
    assert answer.headers["Inference-Store"] == "recorded"
    assert request_of(proxied, proxied.marker("large-1")) == body


def test_metadata_without_measure_costs_no_record(proxied, store, chat):
    deep = {}
    for _ in range(300):
        deep = {"a": deep}
    for number, metadata in enumerate(({"deep": deep}, {"long": "x" * 2**20})):
        body = {"model": "support/bot", "metadata": metadata, "user": "u", "prompt": ""}
        headers = {"Inference-Id": f"bounded-{number}"}
        answer = post(proxied, store, "/v1/completions", body, headers=headers)
        if number == 0:  # the other is larger than a copy may be here
            assert answer.headers["Inference-Store"] == "recorded"
            marker = proxied.marker("bounded-0")
            assert facts(marker)["user_id"] == "u"
            assert "set aside" in marker["warnings"][0]
        assert answer.ok
