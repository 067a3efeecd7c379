"""Files to train language models with: what was asked, and the answer that is wanted."""

from __future__ import annotations

import json
from ast import literal_eval
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from exports.formats.chats import CHAT_FORMATS
from exports.tests.conftest import lines_of, opened
from exports.tests.readers import read_by_datasets
from inferences.ground_truth.upsert import put_truth
from inferences.models import TaskType
from istore import blobs

pytestmark = pytest.mark.django_db(transaction=True)

NAMES = [each.name for each in CHAT_FORMATS]
KEY = "1/1/2025/a/input"
TOOL = {
    "type": "function",
    "function": {"name": "tide", "parameters": {"type": "object", "properties": {}}},
}
ASKED = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "When is high water?"},
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {
                "id": "call-1",
                "type": "function",
                "function": {"name": "tide", "arguments": '{"at": "Vlissingen"}'},
            }
        ],
    },
    {"role": "tool", "tool_call_id": "call-1", "content": "14:05"},
]


@pytest.fixture
def chat(of_task, answered):
    """``chat(messages, "Hello.")``: a stored call of a text model, and its model."""
    model = of_task(TaskType.TEXT_GENERATION)

    def make(
        messages,
        said="At five past two.",
        inference_id="a",
        source=None,
        logprobs=None,
        **request,
    ):
        key = f"{KEY}-{inference_id}"
        body = json.dumps({"model": "m", "messages": messages, **request})
        blobs.put(key, body.encode())
        message = {"role": "assistant", "content": said}
        choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
        choices[0] |= {"logprobs": logprobs}
        return answered(
            model,
            {"object": "chat.completion", "choices": choices},
            inference_id=inference_id,
            data_source=source,
            data_storage_key=key,
            data_content_type="application/json",
        )

    make.model = model
    return make


def exported_lines(exported, chat, format: str, query="*", **options) -> list[dict]:
    task = exported(format, of=chat.model, query=query, options=options)
    return lines_of(opened(task), "train.jsonl")


def test_openai_gets_the_messages_with_their_tools(chat, exported):
    chat(ASKED, tools=[TOOL], parallel_tool_calls=False)

    (line,) = exported_lines(exported, chat, "openai_chat")

    *before, last = line["messages"]
    assert last == {"role": "assistant", "content": "At five past two."}
    assert before[2] == ASKED[2] | {"weight": 0}
    assert [before[0], before[1], before[3]] == [ASKED[0], ASKED[1], ASKED[3]]
    assert line["tools"] == [TOOL]
    assert line["parallel_tool_calls"] is False


def test_an_answer_with_nan_is_read_as_on_pages(chat, exported):
    chat(ASKED, logprobs={"content": [{"token": "At", "logprob": float("nan")}]})
    (line,) = exported_lines(exported, chat, "openai_chat")
    assert line["messages"][-1]["content"] == "At five past two."


def test_all_answers_of_a_conversation_may_be_trained(chat, exported):
    chat(ASKED)

    (line,) = exported_lines(exported, chat, "openai_chat", trained="all")

    assert line["messages"][:-1] == ASKED


def test_sharegpt_has_a_turn_for_each_side(chat, exported):
    chat(ASKED, tools=[TOOL])

    (line,) = exported_lines(exported, chat, "sharegpt")

    assert line["id"] == "a"
    assert [turn["from"] for turn in line["conversations"]] == [
        *("system", "human", "function_call", "observation", "gpt")
    ]
    call = json.loads(line["conversations"][2]["value"])
    assert call == {"name": "tide", "arguments": {"at": "Vlissingen"}}
    assert line["conversations"][-1]["value"] == "At five past two."
    assert json.loads(line["tools"]) == [TOOL]


@pytest.mark.parametrize("form", ["messages", "prompt-completion"])
def test_hugging_face_loads_what_differs_from_line_to_line(
    form, chat, exported, tmp_path
):
    pictured = [{"type": "image_url", "image_url": {"url": "https://x.example/a.png"}}]
    chat(ASKED, tools=[TOOL])
    chat([{"role": "user", "content": "Hello"}], inference_id="b")
    chat([{"role": "user", "content": pictured}], inference_id="c")
    archive = opened(
        exported("huggingface_chat", of=chat.model, options={"form": form})
    )
    (tmp_path / "set").mkdir()
    archive.extract("train.jsonl", tmp_path / "set")

    rows = read_by_datasets(tmp_path, "json", data_dir=str(tmp_path / "set"))

    assert {row["inference_id"] for row in rows} == {"a", "b", "c"}
    for row in rows:
        (last,) = literal_eval(row["messages" if form == "messages" else "completion"])[
            -1:
        ]
        assert (last["role"], last["content"]) == ("assistant", "At five past two.")
    tools = {row["inference_id"]: row["tools"] for row in rows}
    assert json.loads(tools["a"]) == [TOOL]
    assert tools["b"] == "None"


@pytest.mark.parametrize("name", NAMES)
def test_ground_truth_is_the_wanted_answer(name, chat, exported):
    for inference_id in "ab":
        chat(ASKED[:2], "Never.", inference_id)
    put_truth("test", chat.model, "a", {"text": "At 14:05."})

    def answers(wanted):
        lines = exported_lines(exported, chat, name, wanted=wanted)
        return sorted(json.dumps(line).count("At 14:05.") for line in lines)

    assert answers("answer") == [0, 0]
    assert answers("truth-or-answer") == [0, 1]
    assert answers("truth") == [1]
    task = exported(name, of=chat.model, options={"wanted": "truth"})
    assert task.receipt["skipped_by_reason"] == {"no-ground-truth": 1}


@pytest.mark.parametrize("name", NAMES)
def test_what_is_no_conversation_is_skipped_with_a_reason(
    name, chat, exported, make_inference
):
    chat(ASKED, None, "silent")
    make_inference(to=chat.model, inference_id="no-input", data="{}")
    blobs.put("1/1/2025/a/picture", b"\x89PNG\r\n\x1a\n")
    make_inference(
        to=chat.model,
        inference_id="picture",
        data_storage_key="1/1/2025/a/picture",
        data_content_type="image/png",
    )

    task = exported(name, of=chat.model)

    assert lines_of(opened(task), "train.jsonl") == []
    assert task.receipt["skipped_by_reason"] == {
        "no-answer": 1,
        "no-conversation": 1,
        "no-input": 1,
    }


def test_openai_takes_no_sound(chat, exported):
    sound = {
        "type": "input_audio",
        "input_audio": {"data": "UklGRg==", "format": "wav"},
    }
    chat([{"role": "user", "content": [sound, {"type": "text", "text": "What?"}]}])

    task = exported("openai_chat", of=chat.model)

    assert task.receipt["skipped_by_reason"] == {"not-text": 1}


TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1)
PLAIN = st.lists(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["system", "user", "assistant"]), "content": TEXTS}
    ),
    min_size=1,
    max_size=6,
)


@given(messages=PLAIN, said=TEXTS)
@settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_no_text_is_changed_on_the_way(messages, said, chat, exported):
    name = uuid4().hex
    chat(messages, said, name, source=name)
    query = f"source:{name}"

    (line,) = exported_lines(exported, chat, "openai_chat", query, trained="all")
    (shared,) = exported_lines(exported, chat, "sharegpt", query)

    wanted = [*messages, {"role": "assistant", "content": said}]
    assert line["messages"] == wanted
    texts = [turn["value"] for turn in shared["conversations"]]
    assert texts == [message["content"] for message in wanted]
