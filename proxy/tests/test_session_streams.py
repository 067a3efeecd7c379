"""Streams of OpenAI's protocol, with the ``openai`` package as the client."""

import time

import openai
import orjson
import pytest
import requests

from inferences.models import TaskType
from proxy.tests.conftest import wait_until
from proxy.tests.openai_upstream import USAGE, WORDS, OpenAIUpstream

pytestmark = pytest.mark.django_db

ASKED = {"messages": [{"role": "user", "content": "A ship?"}]}
TEXT = "".join(WORDS)


@pytest.fixture
def completions():
    server = OpenAIUpstream()
    server.start()
    yield server
    server.stop()


@pytest.fixture
def chat(proxied, store, completions):
    """The package's client of a session, whose calls are stored under a model."""
    store.model("", "chat", task_type=TaskType.TEXT_EMBEDDING)
    configuration = {"url": completions.url, "protocol": "openai"}
    session, secret = store.session(
        "url", configuration, endpoint="v1/chat/completions", model_id="chat"
    )
    base = f"{proxied.url}/api/v1/inferencesessions/{session.id.hex}/infer/v1"
    with openai.OpenAI(api_key=secret, base_url=base, max_retries=0) as client:
        yield client


def ask(chat, inference_id: str, **given):
    headers = {"Inference-Id": inference_id}
    given = {"model": "fast", **ASKED, **given}
    return chat.chat.completions.create(**given, extra_headers=headers)


def facts(marker) -> dict[str, str]:
    return {each["key"]: each["value"] for each in marker["metadata"]}


def test_chunks_leave_as_they_come(chat):
    began = time.monotonic()
    stream = ask(chat, "as-they-come", model="slow", stream=True)
    arrived = []
    for _chunk in stream:
        arrived.append(time.monotonic() - began)
        if len(arrived) == 4:
            break
    stream.close()
    # One every 0.2 seconds: the last of four is far from the first.
    assert arrived[3] - arrived[0] > 0.4
    assert arrived[0] < 5.0


def test_a_copy_is_put_together_for_each_choice(chat, proxied, completions):
    options = {"include_usage": True}
    stream = ask(chat, "both", stream=True, n=2, stream_options=options)
    texts = {0: "", 1: ""}
    for chunk in stream:
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""
    assert texts == {0: TEXT, 1: TEXT.upper()}
    marker = proxied.marker("both")
    answer = orjson.loads(proxied.blob(marker["event"]["inference_storage_key"]))
    assert answer["object"] == "chat.completion"
    assert [each["message"]["content"] for each in answer["choices"]] == [
        *texts.values()
    ]
    assert answer["usage"] == USAGE
    told = facts(marker)
    assert told["finish_reason"] == "stop"
    assert told["completion_tokens"] == "5"
    assert told["total_tokens"] == "8"
    assert told["model_version"] == "echo-1"
    assert told["stream"] == "complete"
    assert 0 < float(told["time_to_first_token"]) < 5
    assert marker["warnings"] == []
    asked = orjson.loads(proxied.blob(marker["event"]["data_storage_key"]))
    assert asked["messages"] == ASKED["messages"]


def test_what_the_client_hears_is_what_the_server_said(chat, proxied, completions):
    headers = {"Authorization": f"Bearer {chat.api_key}"}
    body = {"model": "fast", "stream": True, **ASKED}
    url = f"{chat.base_url}chat/completions"
    through = requests.post(url, json=body, headers=headers, timeout=10)
    direct = requests.post(
        f"{completions.url}/v1/chat/completions", json=body, timeout=10
    )
    assert through.content == direct.content
    assert through.headers["Inference-Store"] == "streaming"
    assert through.headers["Content-Type"] == direct.headers["Content-Type"]


def test_a_client_that_leaves_makes_a_partial_record(chat, proxied, completions):
    stream = ask(chat, "left", model="slow", stream=True)
    for number, _ in enumerate(stream):
        if number == 3:
            break
    stream.close()
    marker = proxied.marker("left")
    assert marker["warnings"] == [
        "The client left. The answer is what came until then."
    ]
    told = facts(marker)
    assert told["stream"] == "partial"
    assert "finish_reason" not in told
    answer = orjson.loads(proxied.answer(marker))
    said = answer["choices"][0]["message"]["content"]
    assert said and TEXT.startswith(said)
    # The server was not made to go on.
    wait_until(lambda: completions.gone == 1 or completions.sent < 20, 5)
    sent = completions.sent
    time.sleep(0.5)
    assert completions.sent <= sent + 1


def test_a_client_that_leaves_after_the_end_mark_has_the_whole_answer(chat, proxied):
    # The client closes the connection at [DONE], long before this server does.
    assert list(ask(chat, "marked", model="lingering", stream=True))
    marker = proxied.marker("marked")
    assert marker["warnings"] == []
    assert facts(marker)["stream"] == "complete"


def test_a_stream_that_breaks_off_is_seen_to_and_kept_as_a_part(chat, proxied):
    with pytest.raises(openai.APIConnectionError):
        list(ask(chat, "broken", model="breaking", stream=True))
    marker = proxied.marker("broken")
    assert marker["warnings"][0].startswith("The stream broke off.")
    assert facts(marker)["stream"] == "partial"


def test_a_whole_answer_is_kept_with_its_tokens(chat, proxied):
    answer = ask(chat, "whole")
    assert answer.choices[0].message.content == TEXT
    told = facts(proxied.marker("whole"))
    assert (told["prompt_tokens"], told["finish_reason"]) == ("3", "stop")
    assert "stream" not in told


def test_an_answer_that_is_no_json_leaves_as_it_came(chat, proxied):
    url = f"{chat.base_url}chat/completions"
    headers = {
        "Authorization": f"Bearer {chat.api_key}",
        "Inference-Id": "nonsense",
    }
    body = {"model": "nonsense", **ASKED}
    answer = requests.post(url, json=body, headers=headers, timeout=10)
    assert (answer.status_code, answer.text) == (200, "not JSON at all")
    assert answer.headers["Inference-Store"] == "recorded"
    assert set(facts(proxied.marker("nonsense"))) == {"inference_session"}


def test_errors_of_the_server_are_the_package_s_own(chat):
    with pytest.raises(openai.RateLimitError) as raised:
        ask(chat, "refused", model="failing")
    assert raised.value.code == "rate_limit"


def test_a_token_that_is_not_known_is_an_authentication_error(chat):
    with pytest.raises(openai.AuthenticationError):
        ask(chat.with_options(api_key="iss_" + "x" * 43), "nobody")


def test_a_stream_of_a_session_that_stores_nothing_passes_too(
    proxied, store, completions
):
    configuration = {"url": completions.url, "protocol": "openai"}
    session, secret = store.session(
        "url", configuration, endpoint="v1/chat/completions"
    )
    body = {"model": "fast", "stream": True, **ASKED}
    answer = proxied.call(session, secret, body)
    assert answer.headers["Inference-Store"] == "off"
    assert answer.text.endswith("data: [DONE]\n\n")


# -- mocks


@pytest.fixture
def simulated(proxied, store):
    """``simulated("chat", latency=1)``: the package's client of a mock that is stored."""
    clients = []

    def made(name: str, endpoint: str = "v1/chat/completions", **options):
        store.model("", f"mock-{name}", task_type=TaskType.TEXT_EMBEDDING)
        session, secret = store.session(
            "mock",
            {"mock": name, "options": options},
            endpoint=endpoint,
            model_id=f"mock-{name}",
        )
        base = f"{proxied.url}/api/v1/inferencesessions/{session.id.hex}/infer/v1"
        clients.append(openai.OpenAI(api_key=secret, base_url=base, max_retries=0))
        return clients[-1]

    yield made
    for each in clients:
        each.close()


def test_a_chat_mock_streams_what_it_says_whole(simulated, proxied):
    client = simulated("chat", seed=3)
    whole = ask(client, "mock-whole", n=2)
    options = {"include_usage": True}
    stream = ask(client, "mock-stream", stream=True, n=2, stream_options=options)
    texts, reasons, usage = {0: "", 1: ""}, set(), None
    for chunk in stream:
        assert chunk.object == "chat.completion.chunk"
        usage = chunk.usage or usage
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""
            reasons |= {choice.finish_reason} - {None}
    assert texts == {each.index: each.message.content for each in whole.choices}
    assert reasons == {"stop"}
    assert usage == whole.usage
    marker = proxied.marker("mock-stream")
    kept = orjson.loads(proxied.blob(marker["event"]["inference_storage_key"]))
    assert [each["message"]["content"] for each in kept["choices"]] == [*texts.values()]
    told = facts(marker)
    assert told["stream"] == "complete"
    assert told["total_tokens"] == str(whole.usage.total_tokens)
    assert facts(proxied.marker("mock-whole"))["finish_reason"] == "stop"


def test_a_completion_mock_streams_too_and_says_when_it_was_cut(simulated):
    client = simulated("text-completion", "v1/completions")
    asked = {"model": "m", "prompt": "A ship", "n": 1, "max_tokens": 4}
    (whole,) = client.completions.create(**asked).choices
    chunks = list(client.completions.create(**asked, stream=True))
    assert "".join(each.choices[0].text for each in chunks) == whole.text
    assert chunks[-1].choices[0].finish_reason == whole.finish_reason == "length"


def test_a_mock_s_latency_is_spread_over_its_stream(simulated, proxied):
    client = simulated("chat", latency=1.0)
    began = time.monotonic()
    arrived = [time.monotonic() - began for _ in ask(client, "spread", stream=True)]
    assert arrived[0] < 0.5 < arrived[-1]
    assert time.monotonic() - began >= 1.0
    assert 0 < float(facts(proxied.marker("spread"))["time_to_first_token"]) < 0.5


def test_a_client_that_leaves_a_mock_makes_a_partial_record(simulated, proxied):
    stream = ask(simulated("chat", latency=20), "left-a-mock", stream=True)
    next(iter(stream))
    stream.close()
    assert facts(proxied.marker("left-a-mock"))["stream"] == "partial"


def test_the_errors_of_a_mock_have_the_protocol_s_form(simulated):
    client = simulated("chat")
    with pytest.raises(openai.BadRequestError) as refused:
        ask(client, "refused-by-a-mock", n=99, stream=True)
    assert refused.value.body["type"] == "invalid_request_error"
    assert "'n'" in refused.value.body["message"]
    client = simulated("chat", error_rate=1.0)
    with pytest.raises(openai.InternalServerError) as failed:
        ask(client, "failed-as-it-was-told", stream=True)
    assert (failed.value.status_code, failed.value.body["type"]) == (
        503,
        "server_error",
    )


def test_an_embedding_mock_answers_the_package(simulated):
    client = simulated("text-embedding", "v1/embeddings", dimensions=8)
    data = client.embeddings.create(model="m", input=["a ship", "a tug"]).data
    assert [len(each.embedding) for each in data] == [8, 8]
