"""The guide over OpenAI's chat completions."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("sklearn")

from demo.conversations import TOOLS

CHAT = "/v1/chat/completions"
QUESTION = {"role": "user", "content": "How do I export COCO?"}


def test_an_answer_quotes_a_document(ask):
    reply = ask("POST", CHAT, json={"model": "store-guide", "messages": [QUESTION]})

    (choice,) = reply.value["choices"]
    assert choice["finish_reason"] == "stop"
    assert "exports.md" in choice["message"]["content"]
    assert reply.value["usage"]["completion_tokens"] > 10


def test_a_tool_is_called_and_its_result_quoted(ask):
    first = ask("POST", CHAT, json={"messages": [QUESTION], "tools": TOOLS})
    (choice,) = first.value["choices"]
    (call,) = choice["message"]["tool_calls"]
    assert json.loads(call["function"]["arguments"])["question"] == QUESTION["content"]

    found = [{"document": "a.md", "heading": "H", "text": "So it is."}]
    result = {"role": "tool", "tool_call_id": call["id"], "content": json.dumps(found)}
    messages = [QUESTION, choice["message"], result]
    second = ask("POST", CHAT, json={"messages": messages, "tools": TOOLS})
    assert "So it is." in second.value["choices"][0]["message"]["content"]


def test_a_stream_says_the_same_as_the_whole_answer(ask):
    body = {"messages": [QUESTION]}
    whole = ask("POST", CHAT, json=body).value["choices"][0]["message"]["content"]

    lines = ask("POST", CHAT, json=body | {"stream": True}).body.split(b"\n\n")

    assert lines[-2] == b"data: [DONE]"
    chunks = [json.loads(line.removeprefix(b"data: ")) for line in lines[:-2]]
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks]
    assert "".join(delta.get("content", "") for delta in deltas) == whole
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"


@pytest.mark.parametrize("messages", [[], [{"role": "user", "content": " "}], None, 1])
def test_what_is_no_chat_is_refused_as_openai_does(ask, messages):
    reply = ask("POST", CHAT, json={"messages": messages})

    assert reply.status == 400
    assert reply.value["error"]["type"] == "invalid_request_error"
