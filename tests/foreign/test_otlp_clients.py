"""What real libraries send of a model's calls is in the store, field by field."""

from __future__ import annotations

import json
import os

import pytest

from inferences.models import Inference, TaskType
from istore.accounts.tokens import create_token
from istore.models import Role
from protocols.conversations import answer_text, prompt_text, read_conversation
from tests.foreign import otlp_clients

pytestmark = [
    pytest.mark.skipif(
        not os.environ.get("ISTORE_FOREIGN"), reason="ISTORE_FOREIGN is not set"
    ),
    pytest.mark.django_db(transaction=True),
]
ASKED = "Which ships are in the harbour? ⚓"


@pytest.fixture
def sent(live_server, project):
    """``sent(library)``: what was asked and answered, and the spans of it by their kinds."""
    _, secret = create_token("spans", project, Role.EDITOR)

    def run(library: str):
        told = otlp_clients.send(library, live_server.url, secret)
        return told, otlp_clients.stored_spans()

    return run


def check_call(call, told) -> None:
    """Compare the call of the chat model that all libraries make."""
    assert call["request"]["messages"] == told["messages"]
    assert call["request"]["temperature"] == 0.5
    (choice,) = call["answer"]["choices"]
    assert choice["message"]["role"] == "assistant"
    assert choice["message"]["content"] == "The Aurora is in."
    facts = call["facts"]
    assert facts["prompt_tokens"] == "12"
    assert facts["completion_tokens"] == "5"
    assert facts["total_tokens"] == "17"
    assert facts["span_kind"] == "llm"
    assert facts["prediction"] == "The Aurora is in."
    assert call["model"].task_type == TaskType.TEXT_GENERATION
    times = call["notes"]["times"]
    assert times["received"] < times["responded"] < times["indexed"]
    conversation = read_conversation(call["request"], call["answer"])
    assert ASKED in prompt_text(conversation)
    assert answer_text(conversation) == "The Aurora is in."


def test_openinference(sent):
    told, found = sent("openinference")
    (agent,) = found["agent"]
    tools, stream, failed = found["llm"]
    (embedding,) = found["embedding"]
    assert tools["model"].model_id == "gpt-4o"
    assert tools["request"]["tools"][0]["function"]["name"] == "ships"
    assert tools["request"]["messages"] == told["messages"]
    said = told["tool_answer"]["choices"][0]["message"]["tool_calls"]
    assert tools["answer"]["choices"][0]["message"]["tool_calls"] == said
    assert tools["facts"]["model_version"] == "gpt-4o-2024-08-06"
    assert tools["facts"]["finish_reason"] == "tool_calls"
    assert tools["facts"]["conversation_id"] == "s-1"
    assert tools["facts"]["user_id"] == "u-1"
    assert tools["facts"]["berth"] == "7"
    assert tools["facts"]["tags"] == '["live"]'
    assert stream["answer"]["choices"][0]["message"]["content"] == "The Aurora is in."
    assert stream["facts"]["total_tokens"] == "17"
    assert float(stream["facts"]["time_to_first_token"]) > 0
    assert embedding["model"].task_type == TaskType.TEXT_EMBEDDING
    assert embedding["model"].embedding_size == 3
    assert embedding["request"]["input"] == ["Ahoy"]
    assert embedding["answer"]["data"][0]["embedding"] == [0.5, -0.25, 0.125]
    assert failed["span"].is_error
    assert "overloaded" in failed["facts"]["status_message"]
    assert failed["answer"] is None
    assert failed["request"]["messages"] == [{"role": "user", "content": "fail"}]
    for each in (tools, stream, embedding, failed):
        assert bytes(each["span"].parent_id) == bytes(agent["span"].span_id)


def test_opentelemetry(sent):
    told, found = sent("opentelemetry")
    newer, older = found["llm"]
    check_call(newer, told)
    assert newer["facts"]["model_version"] == "gpt-4o-2024-08-06"
    assert newer["facts"]["conversation_id"] == "s-1"
    assert newer["facts"]["provider"] == "openai"
    assert older["request"]["messages"] == [{"role": "user", "content": ASKED}]
    assert older["answer"]["choices"][0]["message"]["content"] == "The Aurora is in."
    (tool,) = found["tool"]
    (call,) = tool["request"]["messages"][0]["tool_calls"]
    assert call["function"] == {"name": "ships", "arguments": '{"harbour": "Kiel"}'}
    result = tool["answer"]["choices"][0]["message"]
    assert result == {"role": "tool", "content": '["Aurora"]', "tool_call_id": "call_1"}
    assert tool["model"].model_id == "harbour-app.tool"


def test_langfuse(sent):
    told, found = sent("langfuse")
    (call,) = found["llm"]
    check_call(call, told)
    (tool,) = found["tool"]
    (root,) = found["span"]
    assert root["answer"]["choices"][0]["message"]["content"] == "The Aurora is in."
    assert tool["answer"]["choices"][0]["message"]["content"] == '["Aurora"]'
    for each in (call, tool, root):
        assert each["facts"]["conversation_id"] == "s-1"
        assert each["facts"]["user_id"] == "u-1"
        assert each["facts"]["berth"] == "7"
        assert each["facts"]["tags"] == '["live"]'
    assert bytes(call["span"].parent_id) == bytes(root["span"].span_id)


def test_mlflow(sent):
    told, found = sent("mlflow")
    (call,) = found["llm"]
    check_call(call, told)
    assert call["model"].model_id == "gpt-4o"
    assert call["facts"]["finish_reason"] == "stop"
    (tool,), (chain,) = found["tool"], found["chain"]
    (asked,) = chain["request"]["messages"]
    assert asked["role"] == "user"
    assert json.loads(asked["content"]) == {"question": ASKED}  # as it was sent
    assert tool["model"].model_id == "harbour-app.tool"
    assert bytes(call["span"].parent_id) == bytes(chain["span"].span_id)


def test_litellm(sent):
    told, found = sent("litellm")
    (call,) = found["llm"]
    check_call(call, told)
    assert float(call["facts"]["cost"]) > 0
    assert call["facts"]["user_id"] == "u-1"
    assert Inference.objects.count() == sum(map(len, found.values()))
