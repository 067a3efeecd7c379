"""Streams are read as the answer that would have come whole, or told not to be understood."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.streams import assemble
from protocols.streams.framing import (
    json_lines,
    json_sequence,
    server_sent_events,
)

EVENTS, NDJSON = "text/event-stream; charset=utf-8", "application/x-ndjson"
DONE = b"data: [DONE]\n\n"


def event(value: Any, name: str = "") -> bytes:
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    named = f"event: {name}\n".encode() if name else b""
    return b"%bdata: %b\n\n" % (named, data)


def chunk(delta: dict[str, Any], index: int = 0, **choice: Any) -> bytes:
    choices = [{"index": index, "delta": delta, **choice}]
    return event({"object": "chat.completion.chunk", "choices": choices})


def message(*pieces: bytes, warnings: int = 0) -> dict[str, Any]:
    found = assemble(b"".join(pieces) + DONE, EVENTS)
    assert len(found.warnings) == warnings, found.warnings
    assert found.is_understood == (not warnings)
    assert json.loads(found.text) == found.answer
    return found.answer["choices"][0]["message"]


def lines(*values: Any) -> bytes:
    return b"".join(json.dumps(value).encode() + b"\n" for value in values)


# -- framing


def test_events_end_with_empty_lines_of_any_kind():
    text = (
        b': a comment\r\ndata: {"a":1}\r\n\r\nevent: x\ndata: b\ndata: c\n\n'
        b"id: 3\rdata:d\r\rretry: 1\n\ndata:[DONE]\n\n"
    )
    found = [(each.name, each.data) for each in server_sent_events(text)]
    assert found == [("", b'{"a":1}'), ("x", b"b\nc"), ("", b"d"), ("", b"[DONE]")]


def test_an_event_without_its_end_is_cut_and_says_so():
    whole, cut = server_sent_events(b"\xef\xbb\xbfdata: a\n\ndata: b")
    assert (whole.data, whole.is_cut, whole.end) == (b"a", False, 12)
    assert (cut.data, cut.is_cut) == (b"b", True)
    assert [each.is_cut for each in json_lines(b'{"a":1}\n\r\n{"b"')] == [False, True]


def test_sequences_of_json_are_told_apart_by_their_separators():
    found = json_sequence(b'\x1e{"a":\n1}\n\x1e{"b":2}\n\x1e{"c"')
    assert [(each.data, each.is_cut) for each in found] == [
        (b'{"a":\n1}', False),
        (b'{"b":2}', False),
        (b'{"c"', True),
    ]


@given(st.binary(max_size=200))
def test_no_bytes_make_a_reader_fail(stream):
    for content_type in (EVENTS, NDJSON, "application/json-seq", "text/plain", ""):
        found = assemble(stream, content_type)
        assert found.is_understood <= (found.answer is not None)


# -- OpenAI


def test_a_function_call_in_pieces_keeps_its_name_and_all_of_its_arguments():
    said = message(
        chunk({"role": "assistant", "content": None}),
        chunk({"function_call": {"name": "find", "arguments": '{"po'}}),
        chunk({"function_call": {"arguments": 'rt":"Rot'}}),
        chunk({"function_call": {"arguments": 'terdam"}'}}),
        chunk({}, finish_reason="function_call"),
    )
    assert said["function_call"] == {
        "name": "find",
        "arguments": '{"port":"Rotterdam"}',
    }


def test_calls_of_tools_are_put_together_by_index_by_id_and_one_after_the_other():
    def part(arguments: str, name: str | None = None, **place: Any) -> bytes:
        function = {"arguments": arguments} | ({"name": name} if name else {})
        return chunk({"tool_calls": [{**place, "function": function}]})

    expected = [("look", '{"at":"sea"}'), ("go", "{}")]
    for pieces in (
        [
            part("", "look", index=0, id="a"),
            part('{"at":', index=0),
            part("{}", "go", index=1, id="b"),
            part('"sea"}', index=0),
        ],
        [
            part('{"at":', "look", id="a"),
            part("{}", "go", id="b"),
            part('"sea"}', id="a"),
        ],
        [part('{"at":', "look"), part('"sea"}'), part("{}", "go")],
        [part('{"at":"sea"}', "look", id=""), part("{}", "go", id="")],
        [part("{}", "go", index=1), part('{"at":"sea"}', "look", index=0)],
    ):
        calls = message(*pieces, chunk({}, finish_reason="tool_calls"))["tool_calls"]
        assert [(c["function"]["name"], c["function"]["arguments"]) for c in calls] == (
            expected
        )
        assert not any("index" in call for call in calls)


def test_a_name_that_comes_with_every_piece_does_not_grow():
    def part(arguments: str) -> bytes:
        function = {"name": "look", "arguments": arguments}
        call = {"index": 0, "id": "a", "type": "function", "function": function}
        return chunk({"tool_calls": [call]})

    (call,) = message(part("{"), part("}"))["tool_calls"]
    function = {"name": "look", "arguments": "{}"}
    assert call == {"id": "a", "type": "function", "function": function}


def test_members_that_nobody_knows_add_up_by_what_they_are():
    said = message(
        chunk({"reasoning_content": "Let me ", "refusal": None, "new": [1]}),
        chunk({"reasoning_content": "see.", "refusal": "No", "new": [{"a": 1}]}),
        chunk({"audio": {"id": "x", "data": "AAA", "transcript": "A "}}),
        chunk({"audio": {"id": "x", "data": "BBB", "transcript": "ship"}}),
        chunk({"refusal": "pe", "depth": 1, "sure": False, "tree": {"a": {"b": "x"}}}),
        chunk({"depth": 2, "sure": True, "tree": {"a": {"b": "y"}, "c": "z"}}),
    )
    assert said == {
        "reasoning_content": "Let me see.",
        "refusal": "Nope",
        "new": [1, {"a": 1}],
        "audio": {"id": "x", "data": "AAABBB", "transcript": "A ship"},
        "depth": 2,
        "sure": True,
        "tree": {"a": {"b": "xy"}, "c": "z"},
    }


def test_choices_stay_apart_and_keep_what_stands_beside_their_deltas():
    def log(token: str) -> dict[str, Any]:
        return {"content": [{"token": token, "logprob": -1.5}]}

    found = assemble(
        chunk({"content": "A "}, logprobs=log("A "))
        + chunk({"content": "B "}, 1, logprobs=log("B "))
        + chunk({"content": "ship"}, logprobs=log("A "), finish_reason="stop")
        + chunk({"content": "tug"}, 1, finish_reason="length", stop_reason=7)
        + event({"choices": [], "usage": {"completion_tokens": 4}, "citations": ["u"]})
        + event({"choices": [], "citations": ["u"], "new_part": {"a": 1}})
        + DONE,
        EVENTS,
    )
    first, second = found.answer["choices"]
    assert first["message"]["content"] == "A ship"
    assert [each["token"] for each in first["logprobs"]["content"]] == ["A ", "A "]
    assert (second["message"]["content"], second["stop_reason"]) == ("B tug", 7)
    assert found.answer["citations"] == ["u"]
    assert found.answer["new_part"] == {"a": 1}
    assert found.facts["completion_tokens"] == 4
    assert found.facts["finish_reason"] == "stop, length"
    assert found.warnings == []


def test_completions_without_messages_grow_with_their_logprobs():
    def text(said: str, **more: Any) -> bytes:
        choice = {"index": 0, "text": said, "logprobs": {"tokens": [said]}, **more}
        return event({"object": "text_completion", "choices": [choice]})

    found = assemble(text("A ") + text("ship", finish_reason="length") + DONE, EVENTS)
    assert found.answer["choices"] == [
        {
            "index": 0,
            "text": "A ship",
            "logprobs": {"tokens": ["A ", "ship"]},
            "finish_reason": "length",
        }
    ]


def test_an_event_of_any_length_is_read():
    assert message(chunk({"content": "x" * 2**21}))["content"] == "x" * 2**21


def test_a_character_that_comes_in_halves_is_whole():
    pieces = rb'{"choices":[{"index":0,"delta":{"content":"%b"}}]}'
    assert message(event(pieces % rb"\ud83d"), event(pieces % rb"\ude00")) == {
        "content": "😀"
    }


def test_numbers_are_kept_exactly():
    said = message(chunk({"count": 2**70, "share": 0.1}))
    assert said == {"count": 2**70, "share": 0.1}


@pytest.mark.parametrize(
    "data",
    [
        b"not json",
        b"[]",
        b"3",
        b'{"choices": 3}',
        b'{"choices": [3]}',
        b'{"choices": [{"index": [], "delta": {}}]}',
        b'{"choices": [{"index": 0, "delta": 3}]}',
        b'{"choices": [{"index": 0, "delta": {"content": {"a": 1}}}]}',
        b'{"choices": [{"index": 0, "delta": {"content": "a", "content": "b"}}]}',
        b'{"choices": [{"index": 0, "delta": {"n": 1e400}}]}',
        b'{"choices": [{"index": 0, "delta": {"n": NaN}}]}',
        b'{"choices": [{"index": 0, "delta": {"n": %b}}]}' % (b"[" * 99 + b"]" * 99),
    ],
)
def test_events_that_are_not_understood_are_counted(data):
    good = chunk({"content": "A ship"})
    found = assemble(good + event(data) + good + DONE, EVENTS)
    assert found.warnings == [
        "1 events were not understood; the stream is kept as it came."
    ]
    assert not found.is_understood
    assert found.answer["choices"][0]["message"]["content"] == "A shipA ship"


def test_a_stream_that_ends_without_its_mark_says_so():
    stream = chunk({"content": "A ship"})
    assert assemble(stream, EVENTS).warnings == ["The stream ended without [DONE]."]
    assert assemble(stream, EVENTS, is_whole=False).warnings == []
    cut = assemble(stream + b'data: {"choi', EVENTS, is_whole=False)
    assert cut.warnings == ["The last event was cut; the stream is kept as it came."]
    assert cut.answer["choices"][0]["message"]["content"] == "A ship"


# -- errors


@pytest.mark.parametrize(
    "bad",
    [
        event({"error": {"message": "Overloaded", "code": 503}}),
        event({"message": "Overloaded", "code": 503}, "error"),
        event({"type": "error", "error": {"type": "x", "message": "Overloaded"}}),
        event(b"Overloaded", "error"),
        event({"error": "Overloaded"}),
    ],
)
@pytest.mark.parametrize("before", [b"", chunk({"content": "A "})])
def test_an_error_within_a_stream_is_told(bad, before):
    found = assemble(before + bad + DONE, EVENTS)
    assert found.has_error
    assert found.warnings[0].startswith("The stream holds an error: Overloaded")
    assert found.answer["error"]
    assert len(found.warnings) == 1


def test_an_error_beside_choices_keeps_what_they_say():
    choices = [{"index": 0, "delta": {"content": "A"}, "finish_reason": "error"}]
    bad = event({"choices": choices, "error": {"message": "Gone", "code": 502}})
    found = assemble(bad + DONE, EVENTS)
    assert found.answer["choices"][0]["message"]["content"] == "A"
    assert found.warnings == ["The stream holds an error: Gone (502)"]


def test_a_line_with_an_error_is_told_too():
    stream = lines(
        {"model": "l", "message": {"role": "assistant", "content": "A"}, "done": False},
        {"error": "out of memory"},
    )
    found = assemble(stream, NDJSON)
    assert found.warnings == ["The stream holds an error: out of memory"]
    assert found.answer["message"]["content"] == "A"


# -- others


def test_ollamas_chat_is_the_answer_it_gives_whole():
    def said(content: str, done: bool = False, **more: Any) -> dict[str, Any]:
        message = {"role": "assistant", "content": content}
        return {"model": "llama", "message": message, "done": done, **more}

    call = {"function": {"name": "look", "arguments": {"at": "sea"}}}
    stream = lines(
        said("A "),
        said("ship"),
        {"model": "llama", "message": {"tool_calls": [call]}, "done": False},
        said("", True, done_reason="stop", eval_count=2, prompt_eval_count=5),
    )
    found = assemble(stream, NDJSON)
    message = {"role": "assistant", "content": "A ship", "tool_calls": [call]}
    assert found.answer["message"] == message
    assert found.facts == {
        "model_version": "llama",
        "prompt_tokens": 5,
        "completion_tokens": 2,
        "finish_reason": "stop",
    }
    assert (found.is_understood, found.warnings) == (True, [])
    assert assemble(stream[:-1], NDJSON).is_understood
    assert assemble(lines(said("A ")), NDJSON).warnings == [
        "The stream ended without done."
    ]


def test_ollamas_generate_is_the_answer_it_gives_whole():
    found = assemble(
        lines(
            {"model": "l", "response": "A ", "done": False},
            {"model": "l", "response": "ship", "done": False},
            {"model": "l", "response": "", "done": True, "context": [1, 2]},
        ),
        NDJSON,
    )
    assert found.answer == {
        "model": "l",
        "response": "A ship",
        "done": True,
        "context": [1, 2],
    }


def test_anthropics_messages_keep_texts_thoughts_and_calls():
    def block(index: int, start: dict[str, Any], *deltas: dict[str, Any]) -> bytes:
        begin = {"type": "content_block_start", "index": index, "content_block": start}
        parts = [
            {"type": "content_block_delta", "index": index, "delta": d} for d in deltas
        ]
        end = {"type": "content_block_stop", "index": index}
        return b"".join(event(each, each["type"]) for each in (begin, *parts, end))

    begin = {"id": "m", "role": "assistant", "model": "c", "content": []}
    begin |= {"usage": {"input_tokens": 3, "output_tokens": 1}, "type": "message"}
    stream = (
        event({"type": "message_start", "message": begin}, "message_start")
        + event({"type": "ping"}, "ping")
        + block(
            0,
            {"type": "thinking", "thinking": ""},
            {"type": "thinking_delta", "thinking": "Hm"},
            {"type": "signature_delta", "signature": "abc"},
        )
        + block(
            1,
            {"type": "text", "text": ""},
            {"type": "text_delta", "text": "A "},
            {"type": "text_delta", "text": "ship"},
        )
        + block(
            2,
            {"type": "tool_use", "id": "t", "name": "look", "input": {}},
            {"type": "input_json_delta", "partial_json": '{"at":'},
            {"type": "input_json_delta", "partial_json": '"sea"}'},
        )
        + event(
            {
                "type": "message_delta",
                "delta": {"stop_reason": "tool_use"},
                "usage": {"output_tokens": 9},
            }
        )
        + event({"type": "message_stop"})
    )
    found = assemble(stream, EVENTS)
    assert found.answer["content"] == [
        {"type": "thinking", "thinking": "Hm", "signature": "abc"},
        {"type": "text", "text": "A ship"},
        {"type": "tool_use", "id": "t", "name": "look", "input": {"at": "sea"}},
    ]
    assert found.facts == {
        "model_version": "c",
        "prompt_tokens": 3,
        "completion_tokens": 9,
        "finish_reason": "tool_use",
    }
    assert found.is_understood


def test_openais_responses_are_what_their_last_event_says():
    deltas = [
        {
            "type": "response.output_text.delta",
            "output_index": 0,
            "content_index": 0,
            "delta": text,
        }
        for text in ("A ", "ship")
    ]
    begin = {"type": "response.created", "response": {"id": "r", "output": []}}
    content = [{"type": "output_text", "text": "A ship"}]
    whole = {"id": "r", "output": [{"type": "message", "content": content}]}
    end = {"type": "response.completed", "response": whole}
    stream = b"".join(event(each, each["type"]) for each in (begin, *deltas, end))
    assert assemble(stream, EVENTS).answer == whole
    part = b"".join(event(each) for each in (begin, *deltas))
    found = assemble(part, EVENTS, is_whole=False)
    assert found.answer["output"][0]["content"] == content
    assert found.is_understood
    failed = {"message": "Gone", "code": "server_error"}
    bad = {"type": "response.failed", "response": {"id": "r", "error": failed}}
    assert assemble(part + event(bad), EVENTS).has_error


def test_generate_stream_of_triton_and_of_hugging_face():
    triton = b"".join(
        event({"model_name": "m", "model_version": "1", "text_output": text})
        for text in ("A ", "ship")
    )
    assert assemble(triton, EVENTS).answer == {
        "model_name": "m",
        "model_version": "1",
        "text_output": "A ship",
    }
    tokens = [{"id": 7, "text": text, "special": False} for text in ("A ", "A ")]
    first = {"index": 1, "token": tokens[0], "generated_text": None, "details": None}
    details = {"finish_reason": "length", "generated_tokens": 2}
    last = {"index": 2, "token": tokens[1], "generated_text": "A A "}
    found = assemble(event(first) + event(last | {"details": details}), EVENTS)
    assert found.answer["generated_text"] == "A A "
    assert found.answer["tokens"] == tokens
    assert found.facts["finish_reason"] == "length"
    part = assemble(event(first), EVENTS, is_whole=False)
    assert part.answer["generated_text"] == "A "


def gemini(*parts: Any, **candidate: Any) -> bytes:
    content = {"parts": list(parts), "role": "model"} if parts else None
    about = {"content": content} if content else {}
    usage = {"promptTokenCount": 3, "candidatesTokenCount": 5, "totalTokenCount": 8}
    return event(
        {
            "candidates": [about | {"index": 0} | candidate],
            "usageMetadata": usage,
            "modelVersion": "gemini-2.5-flash",
        }
    )


def test_geminis_candidates_keep_texts_thoughts_and_calls():
    call = {"functionCall": {"name": "sail", "args": {"to": "Rotterdam"}}}
    rated = [{"category": "HARM_CATEGORY_HARASSMENT", "probability": "NEGLIGIBLE"}]

    found = assemble(
        gemini({"text": "Hm", "thought": True}, safetyRatings=rated)
        + gemini({"text": "A "})
        + gemini({"text": "ship"}, safetyRatings=rated)
        + gemini(call, finishReason="STOP"),
        EVENTS,
    )

    assert (found.is_understood, found.has_ended, found.warnings) == (True, True, [])
    (candidate,) = found.answer["candidates"]
    assert candidate["content"] == {
        "role": "model",
        "parts": [{"text": "Hm", "thought": True}, {"text": "A ship"}, call],
    }
    assert (candidate["finishReason"], candidate["safetyRatings"]) == ("STOP", rated)
    assert found.facts == {
        "model_version": "gemini-2.5-flash",
        "finish_reason": "STOP",
        "prompt_tokens": 3,
        "completion_tokens": 5,
        "total_tokens": 8,
    }
    cut = assemble(gemini({"text": "A "}), EVENTS)
    assert cut.warnings == ["The stream ended without finishReason."]


def test_geminis_blocked_prompt_is_a_whole_answer():
    found = assemble(event({"promptFeedback": {"blockReason": "SAFETY"}}), EVENTS)
    assert found.answer == {"promptFeedback": {"blockReason": "SAFETY"}}
    assert (found.is_understood, found.warnings) == (True, [])


def test_a_stream_of_one_value_is_that_value():
    assert assemble(lines({"outputs": []}), NDJSON).answer == {"outputs": []}
    several = assemble(lines({"a": 1}, {"a": 2}), NDJSON)
    assert (several.answer, several.is_understood) == (None, False)
    assert several.warnings == [
        "2 events were not understood; the stream is kept as it came."
    ]


def test_a_stream_without_events_says_so():
    assert assemble(b": nothing\n\n", EVENTS).warnings == ["The stream held no event."]


# -- what it costs


def tool_call(**call: Any) -> bytes:
    return chunk({"tool_calls": [call]})


GROWING = {
    "calls by index": lambda n: tool_call(index=n, function={"arguments": "{}"}),
    "calls by id": lambda n: tool_call(id=str(n), function={"arguments": "{}"}),
    "names in pieces": lambda n: tool_call(index=0, function={"name": f"{n:06}"}),
    "empty names": lambda n: tool_call(index=0, function={"name": "" if n else "a"}),
    "probabilities": lambda n: chunk({}, logprobs={"content": [{"token": "a"}]}),
    "parts of content": lambda n: chunk({"content": "a" if n else []}),
    "citations": lambda n: event({"choices": [], "citations": [str(n)]}),
    "citations by index": lambda n: event(
        {
            "choices": [],
            "citations": [{"index": 0, "of": list(range(0 if n else 100_000))}],
        }
    ),
}


@pytest.mark.parametrize("kind", GROWING)
def test_what_grows_by_many_pieces_grows_in_linear_time(kind):
    stream = b"".join(map(GROWING[kind], range(20_000)))
    began = time.process_time()
    found = assemble(stream, EVENTS)
    assert time.process_time() - began < 10
    assert found.is_understood


def test_an_item_is_found_by_its_index_and_by_its_id():
    said = message(
        tool_call(index=1, id="b", function={"name": "go", "arguments": "{"}),
        tool_call(index=0, id="a", function={"name": "look", "arguments": "["}),
        tool_call(id="b", function={"arguments": "}"}),
        tool_call(index=0, function={"arguments": "]"}),
    )
    calls = [(c["id"], c["function"]["arguments"]) for c in said["tool_calls"]]
    assert calls == [("a", "[]"), ("b", "{}")]


@pytest.mark.parametrize("place", [[], {}, "a"])
def test_a_place_that_is_no_number_is_not_understood(place):
    delta = {"type": "response.output_text.delta", "delta": "a", "output_index": place}
    assert not assemble(event(delta), EVENTS).is_understood


ENDLESS = {
    "events": (chunk({"content": "a"}), EVENTS),
    "ends": (b"data: [DONE]\n\n", EVENTS),
    "lines that say nothing": (b"\n", EVENTS),
    "lines of one event": (b"data:1\n", EVENTS),
    "values": (chunk({}, logprobs={"content": [[1] * 1000]}), EVENTS),
    "lines of JSON": (b"{}\n", NDJSON),
    "texts of a sequence": (b"\x1e", "application/json-seq"),
}


@pytest.mark.parametrize("kind", ENDLESS)
def test_of_a_stream_without_measure_only_the_beginning_is_read(kind):
    piece, content_type = ENDLESS[kind]
    stream = piece * (40_000_000 // len(piece))
    began = time.process_time()
    found = assemble(stream, content_type)
    assert time.process_time() - began < 20
    assert not found.is_understood
    assert "of which the first were read; the stream is kept" in found.warnings[-1]


@pytest.mark.parametrize(
    "text",
    ["[" * 100_000, "NaN", "[1e999]", '{"a":1,"a":2}', "1" * 5000, '{"a'],
)
def test_the_input_of_a_tool_that_cannot_be_read_exactly_stays_a_text(text):
    block = {"type": "tool_use", "name": "look"}
    delta = {"type": "input_json_delta", "partial_json": text}
    pieces = (
        {"type": "message_start", "message": {"id": "a"}},
        {"type": "content_block_start", "index": 0, "content_block": block},
        {"type": "content_block_delta", "index": 0, "delta": delta},
        {"type": "message_stop"},
    )
    found = assemble(b"".join(map(event, pieces)), EVENTS)
    assert found.is_understood
    assert json.loads(found.text)["content"] == [{**block, "input": text}]


def of_responses(kind: str, **fields) -> bytes:
    return event({"type": f"response.{kind}", **fields})


ITEMS = [
    ("output_item.added", {"item": {"type": "reasoning", "id": "r", "summary": []}}),
    ("reasoning_summary_text.delta", {"summary_index": 0, "delta": "Hm"}),
    ("reasoning_summary_text.delta", {"summary_index": 0, "delta": "m."}),
    ("output_item.added", {"item": {"type": "message", "role": "assistant"}}),
    ("content_part.added", {"content_index": 0, "part": {"type": "refusal"}}),
    ("refusal.delta", {"content_index": 0, "delta": "I can"}),
    ("refusal.delta", {"content_index": 0, "delta": "not."}),
    ("output_item.added", {"item": {"type": "function_call", "name": "look"}}),
    ("function_call_arguments.delta", {"delta": '{"at": "s'}),
    ("function_call_arguments.delta", {"delta": 'ea"}'}),
    ("audio.delta", {"delta": "AAE="}),
    ("audio.delta", {"delta": "AgM="}),
    ("audio.transcript.delta", {"delta": "sea"}),
]
PUT_TOGETHER = [
    {
        "type": "reasoning",
        "id": "r",
        "summary": [{"type": "summary_text", "text": "Hmm."}],
    },
    {
        "type": "message",
        "role": "assistant",
        "content": [{"type": "refusal", "refusal": "I cannot."}],
    },
    {"type": "function_call", "name": "look", "arguments": '{"at": "sea"}'},
]


def test_responses_that_broke_off_keep_all_that_came():
    stream, index = of_responses("created", response={"id": "r", "output": []}), -1
    for kind, fields in ITEMS:
        index += kind == "output_item.added"
        stream += of_responses(kind, output_index=index, **fields)
    found = assemble(stream, EVENTS, is_whole=False)
    assert found.answer["output"] == PUT_TOGETHER
    assert found.answer["audio"] == {"data": "AAECAw==", "transcript": "sea"}
    assert found.is_understood
    unknown = of_responses("dance.delta", output_index=0, delta="a")
    assert not assemble(stream + unknown, EVENTS, is_whole=False).is_understood
    whole = of_responses("completed", response={"id": "r", "output": PUT_TOGETHER})
    ended = assemble(stream + unknown + whole, EVENTS)
    assert ended.is_understood
    assert ended.answer["audio"]["transcript"] == "sea"


@pytest.mark.parametrize("form", ["chat", "responses", "messages", "ollama"])
def test_a_stream_cut_at_any_byte_keeps_what_came_and_raises_nothing(form):
    stream, content_type, text_of = CUT_STREAMS[form]
    before = ""
    for end in range(len(stream)):
        found = assemble(stream[:end], content_type, is_whole=False)
        said = text_of(found.answer) if found.answer else ""
        assert "A ship enters".startswith(said)
        assert len(said) >= len(before)
        before = said
    assert before == "A ship enters"


WORDS = ("A ", "ship ", "enters")
CUT_STREAMS = {
    "chat": (
        b"".join(chunk({"content": word}) for word in WORDS) + b"data: [DONE]\n\n",
        EVENTS,
        lambda a: a["choices"][0]["message"]["content"],
    ),
    "responses": (
        of_responses("created", response={"id": "r", "output": []})
        + b"".join(of_responses("output_text.delta", delta=word) for word in WORDS)
        + of_responses(
            "completed",
            response={
                "output": [
                    {"content": [{"type": "output_text", "text": "A ship enters"}]}
                ]
            },
        ),
        EVENTS,
        lambda a: "".join(p["text"] for i in a["output"] for p in i["content"]),
    ),
    "messages": (
        event({"type": "message_start", "message": {"id": "m", "content": []}})
        + b"".join(
            event(
                {
                    "type": "content_block_delta",
                    "index": 0,
                    "delta": {"type": "text_delta", "text": word},
                }
            )
            for word in WORDS
        )
        + event({"type": "message_stop"}),
        EVENTS,
        lambda a: "".join(block["text"] for block in a["content"]),
    ),
    "ollama": (
        b"".join(
            json.dumps(
                {"message": {"content": word}, "done": word == "enters"}
            ).encode()
            + b"\n"
            for word in WORDS
        ),
        NDJSON,
        lambda a: a["message"]["content"],
    ),
}
