"""Full-text search: what is found, on every way in and out, in every part of a long text."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection

from inferences.models import (
    InferenceAction,
    InferenceText,
    RegisteredModel,
    TaskType,
    TextIndexTask,
    TextSide,
)
from inferences.search import text
from inferences.search.counting import count_matching
from inferences.search.filters import FullTextFilter, InferenceFilter, matching
from inferences.search.pagination import Pagination
from inferences.search.query import InferenceQuery
from inferences.store import removal, text_reindexing
from inferences.store.recording import NewInference, record
from inferences.store.registration import change_settings
from istore import blobs

START = datetime(2026, 6, 1, tzinfo=UTC)


@pytest.fixture
def chat(project) -> RegisteredModel:
    return RegisteredModel.objects.create(
        model_id="chat", project=project, task_type=TaskType.TEXT_GENERATION
    )


def completion(text: str) -> str:
    message = {"role": "assistant", "content": text}
    return json.dumps({"id": "cmpl-7", "choices": [{"index": 0, "message": message}]})


def asking(text: str) -> bytes:
    messages = [{"role": "user", "content": text}]
    return json.dumps({"model": "gpt", "messages": messages}).encode()


def new(name: str, prompt: str = "", answer: str = "", **fields: Any) -> NewInference:
    key = ""
    if prompt:
        key = f"texts/{name}/input"
        blobs.put(key, asking(prompt))
    defaults = {
        "inference_id": name,
        "inference_action": InferenceAction.PREDICT,
        "data_hash": hashlib.sha256(name.encode()).digest(),
        "created_at": START + timedelta(seconds=len(name)),
        "data": completion(answer) if answer else "",
        "data_storage_key": key,
        "data_content_type": "application/json" if key else "",
    }
    return NewInference(**defaults | fields)


def found(model: RegisteredModel, query: str) -> set[str]:
    """The ids that the query finds, by each of the ways that have to agree."""
    filters = text.parse(query)
    ids = set(matching(model, filters).values_list("inference_id", flat=True))
    page = InferenceQuery(filters, Pagination(direction="desc")).page(model)
    assert {row.inference_id for row in page.inferences} == ids
    assert count_matching(model, filters).number == len(ids)
    return ids


def test_words_of_prompts_and_answers_are_found(chat):
    record(
        chat,
        [
            new("a", "Where is the wet paint?", "On the bench."),
            new("bb", "Paint it red", "The paint is wet, and the bench is red."),
            new("ccc", "", "A timeout error"),
        ],
    )

    assert found(chat, "text:paint") == {"a", "bb"}
    assert found(chat, "prompt:PAINT answer:bench") == {"a", "bb"}
    assert found(chat, 'text:"wet paint"') == {"a"}
    assert found(chat, "answer:wet") == {"bb"}
    assert found(chat, "prompt:wet") == {"a"}
    assert found(chat, "text:pai*") == {"a", "bb"}
    assert found(chat, "text:pai") == set()
    assert found(chat, "text:(paint -red)") == {"a"}
    assert found(chat, "text:(error OR where)") == {"a", "ccc"}
    assert found(chat, "-text:paint") == {"ccc"}
    assert found(chat, "text:-paint") == {"ccc"}
    assert found(chat, 'text:("bench is r*")') == {"bb"}
    assert found(chat, "text:(where bench)") == {"a"}  # in both sides together


def test_names_of_roles_and_members_are_no_words(chat):
    record(chat, [new("a", "Hello", "Good day")])

    for word in ("user", "assistant", "messages", "content", "gpt", "cmpl"):
        assert found(chat, f"text:{word}") == set()


def test_a_model_without_texts_has_no_rows(model):
    record(model, [new("a", "Hello", "Good day")])

    assert not InferenceText.objects.exists()
    assert found(model, "text:hello") == set()


def test_words_of_other_models_are_not_found(chat, project):
    other = RegisteredModel.objects.create(
        model_id="other", project=project, task_type=TaskType.TEXT_GENERATION
    )
    record(chat, [new("a", "Hello")])
    record(other, [new("a", "Goodbye")])

    assert found(chat, "text:hello") == {"a"}
    assert found(chat, "text:goodbye") == set()


def test_all_of_a_prompt_of_ten_megabytes_is_found(chat):
    words = " ".join(f"w{number}" for number in range(600_000))
    noise = "the cat " * 700_000
    prompt = f"{noise}first middle-part {words} the very last"
    assert len(prompt) > 10_000_000
    record(chat, [new("a", prompt), new("bb", "short")])

    parts = InferenceText.objects.beside(chat).filter(side=TextSide.PROMPT)
    assert parts.count() > 50
    assert found(chat, 'text:"cat first middle"') == {"a"}
    assert found(chat, 'text:"the very last"') == {"a"}
    for number in range(0, 599_990, 40_009):  # wherever the parts end
        assert found(chat, f'text:"w{number} w{number + 1}"') == {"a"}
    assert found(chat, "text:(first last -short)") == {"a"}
    assert found(chat, 'text:"last first"') == set()


def test_long_words_and_odd_scripts_are_found(chat):
    long = "ab" * 3_000
    odd = {
        "a": long,
        "bb": "東京タワーへ",
        "ccc": "4e5f1234 and 2e10x",
        "dddd": "naïve e\u0301tat",
        "eeeee": "path/to/error.log <think>a_b</think> x😀y",
        "ffffff": "हिन्दी में",
    }
    record(chat, [new(name, prompt) for name, prompt in odd.items()])

    assert found(chat, f"text:{long[:1500]}*") == {"a"}
    assert found(chat, f"text:{long[:1499]}x*") == set()
    assert found(chat, "text:東京") == {"bb"}
    assert found(chat, "text:京東") == set()
    assert found(chat, "text:4e5*") == {"ccc"}
    assert found(chat, "text:4e5") == set()
    assert found(chat, "text:2e10x") == {"ccc"}
    assert found(chat, "text:état") == {"dddd"}
    assert found(chat, "text:ÉTAT") == {"dddd"}
    assert found(chat, "text:error") == {"eeeee"}
    assert found(chat, "text:think") == {"eeeee"}
    assert found(chat, "text:😀") == {"eeeee"}
    assert found(chat, "text:हिन्दी") == {"ffffff"}


def test_a_language_has_stems_and_stop_words(chat):
    chat.text_search_language = "english"
    chat.save()
    record(
        chat,
        [new("a", "The dogs were running in the state of the art"), new("bb", "cats")],
    )

    assert found(chat, "text:run") == {"a"}
    assert found(chat, "text:(dog the)") == {"a"}
    assert found(chat, 'text:"state of the art"') == {"a"}
    assert found(chat, "text:the") == set()
    assert found(chat, "text:(the OR cat)") == {"bb"}


def test_another_language_indexes_anew_in_a_task(chat, queue):
    record(chat, [new("a", "running dogs"), new("bb", "a cat")])
    assert found(chat, "text:dog") == set()

    change_settings("test", chat, text_search_language="english")
    task = chat.text_index_tasks.get()
    task.created_at -= timedelta(seconds=10)
    text_reindexing.carry_out(task)

    task.refresh_from_db()
    assert (task.state, task.done, task.expected) == ("complete", 2, 2)
    assert found(chat, "text:dog") == {"a"}


def test_models_are_indexed_after_an_upgrade_and_emptied_when_switched_off(chat, queue):
    record(chat, [new("a", "hello", "world"), new("bb", "", "there")])
    InferenceText.objects.all().delete()
    chat.awaits_text_index = True
    chat.save()

    text_reindexing.start_waiting()
    (task,) = TextIndexTask.objects.all()
    TextIndexTask.objects.update(created_at=START)
    task.refresh_from_db()
    text_reindexing.carry_out(task)

    assert found(chat, "text:hello") == {"a"}
    assert found(chat, "answer:there") == {"bb"}
    change_settings("test", chat, text_search=False)
    text_reindexing.carry_out(chat.text_index_tasks.latest("created_at"))
    assert not InferenceText.objects.exists()


def test_texts_go_with_the_record_and_prompts_with_the_input(chat):
    record(chat, [new("a", "hello", "world"), new("bb", "hello", "there")])
    rows = InferenceText.objects.beside(chat)
    assert rows.count() == 4

    removal.INPUTS.intend(chat, chat.inferences.filter(inference_id="a"))
    removal.INPUTS.finish(chat)
    assert found(chat, "text:hello") == {"bb"}
    assert found(chat, "answer:world") == {"a"}

    removal.remove_one("test", chat, "bb")
    assert found(chat, "text:hello") == set()
    assert rows.count() == 1


def test_what_is_soft_deleted_is_not_found(chat):
    record(chat, [new("a", "hello"), new("bb", "hello")])

    removal.hide_records(chat, chat.inferences.filter(inference_id="a"))

    assert found(chat, "text:hello") == {"bb"}


def test_a_page_reads_the_index_by_words(chat):
    record(chat, [new(str(10**n), "hello") for n in range(5)])
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        filters = FullTextFilter("text", "hello")
        (path,) = filters.access_paths(chat)
        (branch,) = path.branches
        cursor.execute(
            f"EXPLAIN SELECT id FROM {branch.source} WHERE {branch.where.sql}",
            branch.where.values,
        )
        plan = "\n".join(line for (line,) in cursor)
    assert "model_key" in plan and "Bitmap Index Scan" in plan


@pytest.mark.parametrize(
    "query",
    [
        "text:",
        "text:()",
        "text:(OR)",
        "text:(a OR )",
        'text:"',
        "text:(a",
        "text:—",
        "text:(-)",
    ],
)
def test_what_asks_for_no_word_is_refused(query):
    with pytest.raises(text.TextQueryError):
        text.parse(query)


@pytest.mark.parametrize(
    ("query", "written"),
    [
        ("text:Foo", "text:foo"),
        ("text:foo-bar", 'text:"foo bar"'),
        ('prompt:"wet  paint*"', 'prompt:"wet paint*"'),
        ('answer:(a "b c" OR -d*)', 'answer:(a "b c" OR -d*)'),
        ('text:"a OR b"', 'text:"a or b"'),
        ("text:-a", "text:(-a)"),
        ("-text:a label:x", "-text:a label:x"),
        ('text:("a (b) c" d)', 'text:("a b c" d)'),
    ],
)
def test_queries_are_written_in_one_way(query, written):
    parsed = text.parse(query)
    assert text.write(parsed) == written
    assert text.parse(written) == parsed
    assert parsed != InferenceFilter()
