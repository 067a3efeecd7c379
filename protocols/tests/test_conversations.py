"""Requests and answers of text protocols, read as conversations."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.conversations import (
    Conversation,
    Part,
    Turn,
    Usage,
    answer_text,
    prompt_name,
    prompt_text,
    read_conversation,
    to_messages,
)

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJ"


def said(role: str, *texts: str, **members: str) -> Turn:
    return Turn(role, tuple(Part("text", text) for text in texts), **members)


def asked(request: object) -> tuple[Turn, ...]:
    conversation = read_conversation(request, None)
    return conversation.turns if conversation else ()


def answered(answer: object) -> tuple[Turn, ...]:
    conversation = read_conversation(None, answer)
    return conversation.choices if conversation else ()


CHAT = {
    "model": "gpt-4o",
    "temperature": 0.5,
    "messages": [
        {"role": "system", "content": "Be brief."},
        {
            "role": "user",
            "name": "ada",
            "content": [
                {"type": "text", "text": " What is this? "},
                {"type": "image_url", "image_url": {"url": "https://a.example/b.png"}},
                {
                    "type": "input_audio",
                    "input_audio": {"data": "AAAA", "format": "wav"},
                },
                {"type": "file", "file": {"filename": "a.pdf", "file_id": "f-1"}},
            ],
        },
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {
                    "id": "c1",
                    "type": "function",
                    "function": {"name": "look", "arguments": '{"at": 1}'},
                }
            ],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "A quay."},
    ],
}


def test_a_chat_is_read_with_all_parts_of_its_messages():
    conversation = read_conversation(CHAT, None)

    assert conversation == Conversation(
        turns=(
            said("system", "Be brief."),
            Turn(
                "user",
                (
                    Part("text", " What is this? "),
                    Part("image", url="https://a.example/b.png"),
                    Part(
                        "audio",
                        url="data:audio/wav;base64,AAAA",
                        media_type="audio/wav",
                    ),
                    Part("file", name="a.pdf", id="f-1"),
                ),
                name="ada",
            ),
            Turn(
                "assistant",
                (Part("tool_call", name="look", id="c1", arguments='{"at": 1}'),),
            ),
            Turn("tool", (Part("tool_result", "A quay.", id="c1"),)),
        ),
        model="gpt-4o",
        parameters={"temperature": 0.5},
    )


def test_messages_are_written_as_they_were_read():
    assert to_messages(read_conversation(CHAT, None)) == CHAT["messages"]


def test_the_answer_is_the_last_message():
    answer = {"choices": [{"message": {"role": "assistant", "content": "A wharf."}}]}
    conversation = read_conversation({"prompt": "A quay?"}, answer)

    assert to_messages(conversation) == [
        {"role": "user", "content": "A quay?"},
        {"role": "assistant", "content": "A wharf."},
    ]
    assert to_messages(conversation, choice=None) == to_messages(conversation)[:1]


def test_choices_have_their_reasons_and_the_usage_is_read():
    conversation = read_conversation(
        None,
        {
            "model": "gpt-4o-2024",
            "choices": [
                {"index": 0, "message": {"content": "a"}, "finish_reason": "stop"},
                {"index": 1, "message": {"refusal": "No."}, "finish_reason": "length"},
                {"index": 2, "text": "b", "finish_reason": None},
            ],
            "usage": {
                "prompt_tokens": 9,
                "completion_tokens": 4,
                "total_tokens": 13,
                "prompt_tokens_details": {"cached_tokens": 5},
                "completion_tokens_details": {"reasoning_tokens": 2},
            },
        },
    )

    assert conversation.choices == (
        said("", "a", finish_reason="stop"),
        Turn("", (Part("refusal", "No."),), finish_reason="length"),
        said("", "b"),
    )
    assert conversation.usage == Usage(9, 4, 13, 5, 2)
    assert conversation.model == "gpt-4o-2024"
    assert answer_text(conversation) == "a\n\nNo.\n\nb"


def test_tokens_beside_a_cache_are_part_of_the_prompt():
    usage = {
        "input_tokens": 10,
        "output_tokens": 3,
        "cache_read_input_tokens": 100,
        "cache_creation_input_tokens": 20,
    }
    conversation = read_conversation(None, {"content": "a", "usage": usage})

    assert conversation.usage == Usage(130, 3, None, 100)


def test_messages_of_anthropic_are_read():
    request = {
        "model": "claude",
        "max_tokens": 10,
        "system": [{"type": "text", "text": "Be brief."}],
        "messages": [
            {
                "role": "user",
                "content": [
                    {
                        "type": "image",
                        "source": {
                            "type": "base64",
                            "media_type": "image/png",
                            "data": PIXEL,
                        },
                    },
                    {
                        "type": "tool_result",
                        "tool_use_id": "t1",
                        "content": [
                            {"type": "text", "text": "a"},
                            {"type": "text", "text": "b"},
                        ],
                    },
                ],
            }
        ],
    }
    answer = {
        "role": "assistant",
        "content": [
            {"type": "thinking", "thinking": "Hm.", "signature": "x"},
            {"type": "text", "text": "A quay."},
            {"type": "tool_use", "id": "t2", "name": "look", "input": {"at": 1}},
        ],
        "stop_reason": "tool_use",
    }

    conversation = read_conversation(request, answer)

    assert conversation.turns == (
        said("system", "Be brief."),
        Turn(
            "user",
            (
                Part(
                    "image",
                    url=f"data:image/png;base64,{PIXEL}",
                    media_type="image/png",
                ),
                Part("tool_result", "a\nb", id="t1"),
            ),
        ),
    )
    assert conversation.choices == (
        Turn(
            "assistant",
            (
                Part("reasoning", "Hm."),
                Part("text", "A quay."),
                Part("tool_call", name="look", id="t2", arguments='{"at":1}'),
            ),
            finish_reason="tool_use",
        ),
    )
    assert answer_text(conversation) == 'A quay.\nlook({"at":1})'
    assert conversation.parameters == {"max_tokens": 10}


def test_responses_are_read_with_their_items():
    request = {
        "instructions": "Be brief.",
        "input": [
            {"role": "user", "content": [{"type": "input_text", "text": "Ships?"}]},
            {"type": "reasoning", "summary": [{"type": "summary_text", "text": "Hm."}]},
            {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c", "output": "7"},
        ],
    }
    answer = {
        "output": [
            {"type": "reasoning", "summary": []},
            {
                "type": "message",
                "role": "assistant",
                "content": [
                    {"type": "output_text", "text": "Seven.", "annotations": []}
                ],
            },
        ]
    }

    conversation = read_conversation(request, answer)

    assert conversation.turns == (
        said("system", "Be brief."),
        said("user", "Ships?"),
        Turn("assistant", (Part("reasoning", "Hm."),)),
        Turn("assistant", (Part("tool_call", name="f", id="c", arguments="{}"),)),
        Turn("tool", (Part("tool_result", "7", id="c"),)),
    )
    (choice,) = conversation.choices
    assert (choice.role, choice.parts[-1]) == ("assistant", Part("text", "Seven."))


def test_items_of_responses_that_are_not_known_stand_beside_the_text():
    search = {"type": "web_search_call", "status": "completed"}
    message = {"type": "message", "role": "assistant", "content": "Seven."}

    (choice,) = answered({"output": [search, message]})

    assert [part.kind for part in choice.parts] == ["unknown", "text"]
    assert answered({"output": [search]}) == ()


def test_a_spoken_answer_has_its_transcript_and_its_type():
    audio = {"id": "a", "data": "UklGRiQAAABXQVZF", "transcript": "Seven."}

    (choice,) = answered({"choices": [{"message": {"content": None, "audio": audio}}]})

    assert choice.parts == (
        Part(
            "audio",
            "Seven.",
            id="a",
            url="data:audio/wav;base64,UklGRiQAAABXQVZF",
            media_type="audio/wav",
        ),
    )


def test_ollamas_chat_and_generate_are_read():
    assert asked(
        {"messages": [{"role": "user", "content": "a", "images": [PIXEL]}]}
    ) == (
        Turn(
            "user",
            (
                Part("text", "a"),
                Part(
                    "image",
                    url=f"data:image/png;base64,{PIXEL}",
                    media_type="image/png",
                ),
            ),
        ),
    )
    assert asked({"prompt": "a", "system": "b", "options": {}}) == (
        said("system", "b"),
        said("", "a"),
    )
    assert answered(
        {"response": "c", "thinking": "Hm.", "done": True, "done_reason": "stop"}
    ) == (
        Turn("", (Part("reasoning", "Hm."), Part("text", "c")), finish_reason="stop"),
    )
    assert answered(
        {"message": {"role": "assistant", "content": "c"}, "done": True}
    ) == (said("assistant", "c"),)


def test_contents_of_gemini_are_read():
    request = {
        "systemInstruction": {"parts": [{"text": "Be "}, {"text": "brief."}]},
        "contents": [
            {
                "role": "user",
                "parts": [
                    {"text": "a"},
                    {"inlineData": {"mimeType": "image/png", "data": PIXEL}},
                    {"functionResponse": {"name": "f", "response": {"x": 1}}},
                ],
            }
        ],
    }
    answer = {
        "candidates": [
            {
                "content": {
                    "role": "model",
                    "parts": [
                        {"text": "Hm.", "thought": True},
                        {"text": "b"},
                        {"text": "c"},
                        {"functionCall": {"name": "f", "args": {"x": 1}}},
                    ],
                },
                "finishReason": "STOP",
            }
        ],
        "usageMetadata": {"promptTokenCount": 3, "candidatesTokenCount": 2},
    }

    conversation = read_conversation(request, answer)

    assert conversation.turns[0] == said("system", "Be brief.")
    assert conversation.turns[1].parts[2] == Part("tool_result", '{"x":1}', name="f")
    assert conversation.choices == (
        Turn(
            "model",
            (
                Part("reasoning", "Hm."),
                Part("text", "bc"),
                Part("tool_call", name="f", arguments='{"x":1}'),
            ),
            finish_reason="STOP",
        ),
    )
    assert conversation.usage == Usage(3, 2)


TENSOR = {"name": "prompt", "datatype": "BYTES", "shape": [1, 1]}


@pytest.mark.parametrize(
    "request_",
    [
        "Ships?",
        {"prompt": "Ships?"},
        {"inputs": ["Ships?"]},
        {"input": "Ships?"},
        {"text_input": "Ships?"},
        {**TENSOR, "data": [["Ships?"]]},
        [{**TENSOR, "data": ["Ships?"]}],
        {"inputs": [{**TENSOR, "data": ["Ships?"]}], "parameters": {}},
        {**TENSOR, "data": ['{"prompt": "Ships?"}']},
    ],
)
def test_plain_prompts_have_no_role(request_):
    assert asked(request_) == (said("", "Ships?"),)


@pytest.mark.parametrize(
    "answer",
    [
        "Seven.",
        ["Seven."],
        [{"generated_text": "Seven."}],
        {"text_output": "Seven."},
        {"predictions": ["Seven."]},
        {"text_generation": {"text": "Seven."}},
        [{**TENSOR, "data": ["Seven."]}],
        {"outputs": [{**TENSOR, "data": ["Seven."]}]},
        {"outputs": [{**TENSOR, "data": ['{"choices": [{"text": "Seven."}]}']}]},
    ],
)
def test_plain_answers_are_one_choice(answer):
    assert answered(answer) == (said("", "Seven."),)


def test_texts_of_a_tensor_that_are_no_requests_stay_as_they_are():
    for text in ('["a"]', "{}", '{"a": 1}', "[1", " \n a "):
        assert asked({**TENSOR, "data": [text]}) == (said("", text),)


def test_an_answer_of_turns_ends_with_the_choice():
    """As a chat pipeline repeats the request, or an agent tells what it did."""
    request = {"messages": [{"role": "user", "content": "a"}]}
    answer = {
        "messages": [
            {"role": "user", "content": "a"},
            {"role": "assistant", "content": "b"},
            {"role": "assistant", "content": "c"},
        ]
    }

    conversation = read_conversation(request, answer)

    assert conversation.turns == (said("user", "a"), said("assistant", "b"))
    assert conversation.choices == (said("assistant", "c"),)


def test_parts_that_are_not_known_are_kept_as_json():
    (turn,) = asked({"messages": [{"role": "user", "content": [{"type": "hologram"}]}]})

    assert turn.parts == (Part("unknown", '{"type":"hologram"}'),)


@pytest.mark.parametrize("value", [None, 3, True, [], {}, [1, 2], {"a": 1}, [[0.5]]])
def test_what_is_no_conversation_is_none(value):
    assert read_conversation(value, value) is None


def test_halves_of_surrogate_pairs_are_no_characters():
    (turn,) = asked({"prompt": json.loads(r'"a\ud83d \ud83d\ude80"')})

    assert turn.parts == (Part("text", "a\ufffd 🚀"),)


def test_a_prompt_is_written_with_roles_where_there_are_several_turns():
    assert prompt_text(read_conversation({"prompt": "a"}, None)) == "a"
    assert prompt_text(read_conversation(CHAT, None)) == (
        "system: Be brief.\n\n"
        "user:  What is this? \n[image]\n[audio]\n[file]\n\n"
        'assistant: look({"at": 1})\n\n'
        "tool: A quay."
    )


@pytest.mark.parametrize("name", ["inputs", "prompt", "messages", "content", "output"])
def test_values_that_nest_deeply_do_not_raise(name):
    value: object = "a"
    for _ in range(20_000):
        value = {name: value}
    lists: object = "a"
    for _ in range(20_000):
        lists = [lists]
    results: object = "a"
    for _ in range(2_000):
        results = [{"type": "tool_result", "content": results}]

    read_conversation(value, value)
    read_conversation({name: lists}, {name: lists})
    read_conversation({"messages": [{"role": "user", "content": results}]}, results)


NAMES = (
    *("messages", "content", "role", "type", "text", "prompt", "input", "inputs"),
    *("choices", "message", "output", "outputs", "data", "datatype", "name", "parts"),
    *("candidates", "contents", "tool_calls", "function", "arguments", "source", "url"),
    *("image_url", "thinking", "reasoning", "usage", "input_tokens", "system", "index"),
    *("promptFeedback", "functionCall", "inlineData", "images", "audio", "refusal"),
    *(
        "finishReason",
        "query",
        "documents",
        "question",
        "context",
        "summary",
        "thought",
    ),
)
WORDS = (
    *("user", "assistant", "tool", "function", "text", "image_url", "tool_use", "blob"),
    *("tool_result", "reasoning", "thinking", "function_call", "message", "document"),
    *("input_audio", "refusal", "data:", "https://a", "{}", '{"messages": [1]}'),
)
leaves = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(WORDS)
)
values = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(NAMES) | st.text(max_size=3), inner, max_size=4
        )
    ),
    max_leaves=25,
)


@given(values, values)
def test_no_json_raises_and_what_is_read_can_be_written(request_, answer):
    conversation = read_conversation(request_, answer)

    if conversation is not None:
        (prompt_text(conversation) + answer_text(conversation)).encode()
        messages = to_messages(conversation)
        again = read_conversation({"messages": messages}, None)
        assert again is not None or not messages


@given(st.lists(st.tuples(st.sampled_from(["user", "assistant"]), st.text())))
def test_texts_are_exact(turns):
    messages = [{"role": role, "content": text} for role, text in turns]

    assert to_messages(
        read_conversation({"messages": messages}, None) or Conversation()
    ) == (
        [
            {
                "role": r,
                "content": c.encode("utf-16", "surrogatepass").decode(
                    "utf-16", "replace"
                ),
            }
            for r, c in turns
        ]
    )


@pytest.mark.parametrize(
    ("request_", "name"),
    [
        ({"prompt": "a"}, "prompt"),
        ({"text_input": "a", "prompt": ""}, "text_input"),
        ({"sequence": "a"}, "sequence"),
        ({"question": "a", "inputs": "b"}, "question"),
        ({"query": ["a"], "text": "b"}, "text"),
        ({}, "prompt"),
    ],
)
def test_the_member_that_holds_a_prompt_is_named(request_, name):
    assert prompt_name(request_) == name
