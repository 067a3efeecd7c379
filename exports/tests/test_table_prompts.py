"""Prompts and responses of text models in OpenInference tables."""

from __future__ import annotations

import json

import pytest

from exports.formats.open_inference import tables
from exports.tests.conftest import lines_of, opened
from exports.tests.tables import table_of
from inferences.models import TaskType
from istore import blobs

pytestmark = pytest.mark.django_db(transaction=True)


def test_prompts_of_text_models_are_their_inputs(of_task, answered, exported):
    model = of_task(TaskType.TEXT_GENERATION)
    blobs.put("1/1/2025/a/input", "Write of ships ⚓".encode())
    answered(
        model,
        {"text_generation": {"text": "Ships."}},
        data_storage_key="1/1/2025/a/input",
        data_content_type="text/plain",
    )

    (row,) = table_of(opened(exported("open_inference_parquet", of=model)))

    assert row[":feature.text:prompt_text"] == "Write of ships ⚓"
    assert row[":tag.text:response_text"] == "Ships."


PROMPTS = {
    "a long one": (b"long " * 100_000, "long " * 100_000),
    "a chat": (
        json.dumps(
            {
                "messages": [
                    {"role": "system", "content": "Be brief."},
                    {"role": "user", "content": [{"type": "text", "text": "Ships?"}]},
                ]
            }
        ).encode(),
        "system: Be brief.\n\nuser: Ships?",
    ),
    "a completion": (b'{"prompt": "Ships?", "max_tokens": 3}', "Ships?"),
    "a tensor": (
        b'{"name": "x", "datatype": "BYTES", "shape": [1], "data": ["Ships?"]}',
        "Ships?",
    ),
}


@pytest.mark.parametrize("name", PROMPTS)
def test_prompts_are_read_as_people_would(name, of_task, answered, exported):
    content, prompt = PROMPTS[name]
    model = of_task(TaskType.TEXT_GENERATION)
    blobs.put("1/1/2025/a/input", content)
    answered(
        model,
        {"text_generation": {"text": "Ships."}},
        data_storage_key="1/1/2025/a/input",
        data_content_type="application/json",
    )

    task = exported("open_inference_parquet", of=model)

    (row,) = table_of(opened(task))
    assert row[":feature.text:prompt_text"] == prompt
    assert task.receipt["warnings"] == []


@pytest.mark.parametrize("format", ["open_inference_parquet", "open_inference_jsonl"])
def test_prompts_are_whole_at_any_size_and_few_are_in_memory(
    format, of_task, answered, exported, monkeypatch
):
    monkeypatch.setattr(tables, "PORTION_BYTES", 5_000_000)
    model = of_task(TaskType.TEXT_GENERATION)
    prompts = {"long": "ship " * 1_200_000} | {f"{n}": f"{n} " * 9 for n in range(5)}
    for name, prompt in prompts.items():
        key = f"1/1/2025/{name}/input"
        blobs.put(key, prompt.encode())
        answered(
            model,
            {"text_generation": "x"},
            inference_id=name,
            data_storage_key=key,
            data_size=len(prompt),
        )

    task = exported(format, of=model)

    archive = opened(task)
    if format.endswith("parquet"):
        rows = table_of(archive)
    else:
        rows = lines_of(archive, "m/no-version/no-environment/data.jsonl")
    found = {row[":id.id:"]: row[":feature.text:prompt_text"] for row in rows}
    assert found == prompts
    assert task.receipt["written"] == 6


def test_the_named_input_text_is_the_prompt(of_task, answered, exported):
    model = of_task(TaskType.TEXT_GENERATION)
    answered(model, {"text_generation": "Ships.", "inputs": {"text": "100% of?"}})

    (row,) = table_of(opened(exported("open_inference_parquet", of=model)))

    assert row[":feature.text:prompt_text"] == "100% of?"


def test_a_chat_that_only_calls_tools_has_a_response(of_task, make_inference, exported):
    model = of_task(TaskType.TEXT_GENERATION)
    call = {"type": "function", "function": {"name": "weather", "arguments": "{}"}}
    message = {"role": "assistant", "content": None, "tool_calls": [call]}
    make_inference(to=model, data=json.dumps({"choices": [{"message": message}]}))

    (row,) = table_of(opened(exported("open_inference_parquet", of=model)))
    (example,) = lines_of(
        opened(exported("phoenix_jsonl", of=model)),
        "m/no-version/no-environment/data.jsonl",
    )

    assert row[":tag.text:response_text"] == "weather({})"
    assert example["outputs"]["response_text"] == "weather({})"
