"""Requests of OTLP are read within bounds, whatever bytes they are; spans say what they say."""

from __future__ import annotations

import base64
import json
import time
import tracemalloc

import orjson
import pytest
from google.protobuf import json_format
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.conversations import answer_text, prompt_text, read_conversation
from protocols.otlp import json_messages, messages
from protocols.otlp.conventions import CONVENTIONS
from protocols.otlp.draft import KINDS
from protocols.otlp.readings import read_plainly, read_span
from protocols.otlp.spans import Span, TooMuch, Unreadable
from protocols.otlp.values import nested
from traces.tests.builders import OPENINFERENCE, request_of

ASKED = [{"role": "user", "content": "Which ships are in?"}]
SAID = [{"role": "assistant", "content": "The Aurora."}]


def span(attributes=None, events=(), **more) -> Span:
    given = {"attributes": attributes or {}, "events": events, **more}
    (read,) = messages.read_spans(request_of(given).SerializeToString()).read
    return read


def choices_of(answer) -> list[object]:
    return [each["message"] for each in answer["choices"]]


# What each convention says of the same call.
CALLS = {
    "OpenInference": (OPENINFERENCE, ()),
    "OpenTelemetry GenAI": (
        {
            "gen_ai.operation.name": "chat",
            "gen_ai.request.model": "gpt-4o",
            "gen_ai.usage.input_tokens": 12,
            "gen_ai.usage.output_tokens": 4,
            "gen_ai.conversation.id": "s-1",
            "gen_ai.input.messages": json.dumps(
                [
                    {
                        "role": "user",
                        "parts": [{"type": "text", "content": "Which ships are in?"}],
                    }
                ]
            ),
            "gen_ai.output.messages": json.dumps(
                [
                    {
                        "role": "assistant",
                        "parts": [{"type": "text", "content": "The Aurora."}],
                    }
                ]
            ),
        },
        (),
    ),
    "events of OpenTelemetry GenAI": (
        {
            "gen_ai.operation.name": "chat",
            "gen_ai.request.model": "gpt-4o",
            "gen_ai.usage.prompt_tokens": 12,
            "gen_ai.usage.completion_tokens": 4,
            "session.id": "s-1",
        },
        (
            ("gen_ai.user.message", {"content": "Which ships are in?"}),
            ("gen_ai.choice", {"index": 0, "message": json.dumps(SAID[0])}),
        ),
    ),
    "OpenLLMetry": (
        {
            "llm.request.type": "chat",
            "gen_ai.request.model": "gpt-4o",
            "gen_ai.prompt.0.role": "user",
            "gen_ai.prompt.0.content": "Which ships are in?",
            "gen_ai.completion.0.role": "assistant",
            "gen_ai.completion.0.content": "The Aurora.",
            "gen_ai.usage.prompt_tokens": 12,
            "gen_ai.usage.completion_tokens": 4,
            "traceloop.association.properties.session_id": "s-1",
        },
        (),
    ),
    "Langfuse": (
        {
            "langfuse.observation.type": "generation",
            "langfuse.observation.model.name": "gpt-4o",
            "langfuse.observation.input": json.dumps(ASKED),
            "langfuse.observation.output": json.dumps(SAID[0]),
            "langfuse.observation.usage_details": '{"input": 12, "output": 4}',
            "session.id": "s-1",
        },
        (),
    ),
    "MLflow": (
        {
            "mlflow.spanType": '"CHAT_MODEL"',
            "mlflow.spanInputs": json.dumps({"model": "gpt-4o", "messages": ASKED}),
            "mlflow.spanOutputs": json.dumps(
                {"choices": [{"index": 0, "message": SAID[0]}]}
            ),
            "mlflow.chat.tokenUsage": '{"input_tokens": 12, "output_tokens": 4}',
            "mlflow.trace.session": '"s-1"',
        },
        (),
    ),
}


@pytest.mark.parametrize("name", CALLS)
def test_each_convention_says_the_same_of_the_same_call(name):
    reading = read_span(span(*CALLS[name]))
    assert (reading.kind, reading.model, reading.session) == ("llm", "gpt-4o", "s-1")
    assert reading.request["messages"] == ASKED
    assert choices_of(reading.answer) == SAID
    assert reading.usage["prompt_tokens"] == 12
    assert reading.usage["completion_tokens"] == 4
    assert reading.usage["total_tokens"] == 16


def test_a_bound_that_langfuse_made_up_is_no_parameter_of_the_request():
    given = {"temperature": 0.5, "max_tokens": "Infinity"}
    parameters = {"langfuse.observation.model.parameters": json.dumps(given)}
    reading = read_span(span(CALLS["Langfuse"][0] | parameters))
    assert reading.request["temperature"] == 0.5
    assert "max_tokens" not in reading.request


@pytest.mark.parametrize("name", CALLS)
def test_what_is_kept_of_a_call_reads_as_a_conversation(name):
    reading = read_span(span(*CALLS[name]))
    conversation = read_conversation(reading.request, reading.answer)
    assert "Which ships are in?" in prompt_text(conversation)
    assert answer_text(conversation) == "The Aurora."
    assert conversation.model == "gpt-4o"


def test_tool_calls_results_reasoning_and_pictures_become_parts_of_openais_chat():
    asked = [
        {
            "role": "user",
            "parts": [
                {"type": "text", "content": "What is this?"},
                {
                    "type": "blob",
                    "modality": "image",
                    "mime_type": "image/png",
                    "content": "QQ==",
                },
            ],
        },
        {
            "role": "assistant",
            "parts": [
                {"type": "reasoning", "content": "A ship."},
                {
                    "type": "tool_call",
                    "id": "c1",
                    "name": "look",
                    "arguments": {"x": 1},
                },
            ],
        },
        {
            "role": "tool",
            "parts": [{"type": "tool_call_response", "id": "c1", "response": "yes"}],
        },
    ]
    given = {
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": "m",
        "gen_ai.input.messages": json.dumps(asked),
    }
    first, second, third = read_span(span(given)).request["messages"]
    assert first["content"][1]["image_url"]["url"] == "data:image/png;base64,QQ=="
    assert second["reasoning_content"] == "A ship."
    assert second["tool_calls"][0]["function"] == {
        "name": "look",
        "arguments": '{"x":1}',
    }
    assert third == {"role": "tool", "tool_call_id": "c1", "content": "yes"}


def test_documents_of_a_retriever_are_a_ranking():
    reading = read_span(
        span(
            {
                "openinference.span.kind": "RETRIEVER",
                "input.value": "ships",
                "retrieval.documents.0.document.id": "a",
                "retrieval.documents.0.document.content": "The Aurora",
                "retrieval.documents.0.document.score": 0.5,
                "retrieval.documents.1.document.content": "The Bounty",
            }
        )
    )
    assert reading.request["messages"][0]["content"] == "ships"
    assert reading.answer["results"] == [
        {"item": "a", "id": "a", "text": "The Aurora", "score": 0.5},
        {"item": "1", "text": "The Bounty"},
    ]


def test_the_text_of_an_answer_is_kept_letter_by_letter():
    for said in ('{ "a":  1 }', "1.50", '"quoted"', "true", "  spaces  "):
        attributes = {"openinference.span.kind": "CHAIN", "output.value": said}
        (message,) = choices_of(read_span(span(attributes)).answer)
        assert message["content"] == said


def test_what_no_convention_knows_is_kept_beside():
    reading = read_span(span({"http.route": "/ask", "long": "x" * 10_000}))
    assert reading.kind == "span"
    assert reading.rest["attributes"]["http.route"] == "/ask"
    assert len(reading.rest["attributes"]["long"]) < 5000


def test_an_exception_is_the_message_of_a_failed_span():
    failed = {"exception.type": "ValueError", "exception.message": "no such berth"}
    reading = read_span(span({}, [("exception", failed)], error=""))
    assert (reading.is_error, reading.message) == (True, "ValueError: no such berth")


def test_a_far_number_of_a_list_takes_no_more_room():
    names = {"a.4000000000.x": 1, "a.2.x": 2, "a.1.x": 3}
    assert nested(names, ["a."]) == {"a.": [{"x": 3}, {"x": 2}, {"x": 1}]}


def test_a_text_of_ten_million_characters_is_read():
    long = "x" * 10_000_000
    attributes = OPENINFERENCE | {"llm.input_messages.0.message.content": long}
    assert read_span(span(attributes)).request["messages"][0]["content"] == long


# -- bounds


@pytest.mark.parametrize("depth", [129, 300, 900, 5000])
def test_a_json_text_that_is_nested_too_deep_stays_a_text(depth):
    said = '{"messages": [{"role": "user", "content": %s}]}' % (
        "[" * depth + "]" * depth
    )
    asked = read_span(
        span(
            {"openinference.span.kind": "CHAIN", "input.value": said, "metadata": said}
        )
    ).request
    assert asked == {"messages": [{"role": "user", "content": said}]}
    assert orjson.dumps(asked)


def test_the_json_texts_of_a_span_become_so_many_values_at_most():
    many = "[" + "{}," * 500_000 + "{}]"
    given = {f"langfuse.observation.metadata.{n}": many for n in range(20)}
    tracemalloc.start()
    found = read_span(span(given)).metadata
    assert tracemalloc.get_traced_memory()[1] < 200 * 2**20
    tracemalloc.stop()
    assert isinstance(found["0"], list)
    assert found["19"] == many


def test_many_small_values_are_refused_before_they_become_objects():
    request = request_of({"attributes": {"x": [None] * 2_000_000}})
    began = time.perf_counter()
    found = messages.read_spans(request.SerializeToString())
    assert not found.read
    assert "too many values" in found.refused[0]
    assert time.perf_counter() - began < 2


def test_many_empty_messages_are_refused():
    with pytest.raises(TooMuch):
        messages.read_spans(b"\x0a\x00" * 5_000_000)


def test_more_spans_than_a_request_may_have_are_refused(monkeypatch):
    monkeypatch.setattr(messages, "SPANS_MAX", 2)
    with pytest.raises(TooMuch):
        messages.read_spans(request_of({}, {}, {}).SerializeToString())


def test_a_value_that_is_nested_too_deep_costs_its_span_alone():
    deep = 1
    for _ in range(40):
        deep = [deep]
    request = request_of({"attributes": {"x": deep}}, {})
    found = messages.read_spans(request.SerializeToString())
    assert (len(found.read), len(found.refused)) == (1, 1)


# -- any input

JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats()
    | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=6), inner, max_size=3)
    ),
    max_leaves=8,
)
NAMES = sorted({name for own in CONVENTIONS.values() for name in own.OWN})
ENDINGS = st.sampled_from(
    [
        "",
        "0",
        "0.message.role",
        "0.message.content",
        "0.message.tool_calls.0.tool_call.id",
        "0.document.score",
        "0.embedding.vector",
        "model.name",
        "messages",
        "x.y",
        "0.content",
    ]
)
ATTRIBUTES = st.dictionaries(
    st.builds(str.__add__, st.sampled_from(NAMES), ENDINGS),
    JSON_VALUES
    | JSON_VALUES.map(
        lambda value: json.dumps(value, allow_nan=False) if _plain(value) else "{"
    )
    | st.sampled_from(
        ["LLM", '"TOOL"', "generation", json.dumps(ASKED), json.dumps(SAID[0])]
    ),
    max_size=8,
)


def _plain(value) -> bool:
    try:
        json.dumps(value, allow_nan=False)
    except ValueError:
        return False
    return True


@given(
    ATTRIBUTES,
    st.lists(
        st.tuples(
            st.sampled_from(["gen_ai.choice", "gen_ai.user.message", "exception"]),
            ATTRIBUTES,
        ),
        max_size=2,
    ),
)
@settings(max_examples=300, deadline=None)
def test_whatever_attributes_say_the_span_is_read(attributes, events):
    sent = span(attributes, events)
    reading = read_span(sent)
    assert reading.kind in KINDS
    for value in (reading.request, reading.answer, reading.rest, reading.metadata):
        orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS)
    assert read_plainly(sent).kind == "span"


@given(st.binary(max_size=200))
@settings(max_examples=300, deadline=None)
def test_whatever_bytes_come_they_are_read_or_refused(body):
    for read in (
        messages.read_spans,
        lambda b: json_messages.read_spans(b, depth=64, values=1000),
    ):
        try:
            read(body)
        except Unreadable as error:
            assert str(error)


@given(st.data())
@settings(max_examples=100, deadline=None)
def test_a_request_that_breaks_off_or_is_damaged_is_read_or_refused(data):
    body = bytearray(request_of({"attributes": OPENINFERENCE}, {}).SerializeToString())
    place = data.draw(st.integers(0, len(body) - 1))
    body[place] = data.draw(st.integers(0, 255))
    try:
        messages.read_spans(bytes(body[: data.draw(st.integers(0, len(body)))]))
    except Unreadable as error:
        assert str(error)


@given(ATTRIBUTES)
@settings(max_examples=100, deadline=None)
def test_json_and_protobuf_are_read_alike(attributes):
    request = request_of({"attributes": attributes})
    value = json_format.MessageToDict(request)
    (sent,) = value["resourceSpans"][0]["scopeSpans"][0]["spans"]
    for name in ("traceId", "spanId"):
        sent[name] = base64.b64decode(sent[name]).hex()
    (by_json,) = json_messages.read_spans(
        json.dumps(value).encode(), depth=64, values=100_000
    ).read
    (by_protobuf,) = messages.read_spans(request.SerializeToString()).read
    assert repr(by_json.attributes) == repr(by_protobuf.attributes)
    assert by_json.trace_id == by_protobuf.trace_id
    assert (by_json.start, by_json.end) == (by_protobuf.start, by_protobuf.end)


@pytest.mark.parametrize("sent", [{"question": "Which?"}, {"args": ["a"], "more": 1}])
def test_what_a_function_was_given_and_returned_is_kept_as_it_was_sent(sent):
    given = {"input.value": json.dumps(sent), "output.value": json.dumps(sent)}
    reading = read_span(span({"openinference.span.kind": "CHAIN", **given}))
    assert json.loads(reading.request["messages"][0]["content"]) == sent
    assert json.loads(choices_of(reading.answer)[0]["content"]) == sent
