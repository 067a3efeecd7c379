"""Full-text search: what is found, on every way in and out, in every part of a long text."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from hypothesis import given, settings
from hypothesis import strategies as st

from inferences.erasure.running import erase
from inferences.maintenance import consistency_checks
from inferences.models import (
    InferenceAction,
    InferenceText,
    RegisteredModel,
    TaskType,
    TextIndexTask,
    TextSide,
)
from inferences.search import planner, rare_label_scan, text
from inferences.search.counting import count_matching
from inferences.search.filters import FullTextFilter, InferenceFilter, matching
from inferences.search.filters.text_expressions import Phrase, read_expression
from inferences.search.filters.tree import normal
from inferences.search.pagination import Pagination
from inferences.search.query import InferenceQuery
from inferences.store import removal, text_indexing, text_reindexing
from inferences.store.recording import NewInference, Outcome, record
from inferences.store.registration import change_settings
from inferences.store.text_words import parts_of, spans_of, to_document, words_of
from inferences.tests.builders import typed
from inferences.tests.erasure_builders import open_task, tables_with
from ingest import batch_writer
from ingest.retries import StoreAway
from istore import blobs, failpoints
from istore.checks.verification import Scope
from istore.db.clock import now
from istore.models import Role

START = datetime(2026, 6, 1, tzinfo=UTC)

# With the C library's classes of characters, which PostgreSQL 16 has alone.
all_letters = pytest.mark.skipif(
    os.environ.get("ISTORE_TEST_POSTGRES", "18") < "17",
    reason="Its C library takes emoji and raised digits for no words; the start warns of it.",
)


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


@all_letters
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


SPOKEN = {"often": 1, "half": 2, "tenth": 10, "rare": 60}
ASKED = [
    *("text:often", "text:half", "text:tenth", "text:rare", "text:never"),
    *('text:"often half"', "text:(tenth half)", "text:(often -half)", "text:old"),
    *("text:(rare OR tenth)", "text:half label:ship", "text:tenth action:detect"),
    *("-text:half text:tenth", "text:(rare OR -often)", "text:old since:2026-06-01"),
]


@pytest.mark.parametrize("walk", [3, 5_000])
def test_pages_are_the_same_by_whichever_strategy(chat, monkeypatch, walk):
    for name in ("SHORT_WALK", "WALK", "LONG_WALK", "VERY_FEW", "FEW"):
        monkeypatch.setattr(planner, name, min(walk, getattr(planner, name)))
    monkeypatch.setattr(rare_label_scan, "RARE", walk)
    record(
        chat,
        [
            new(
                f"{number:03}",
                "",
                " ".join(word for word, each in SPOKEN.items() if number % each == 0)
                + (" old" if number < 80 else ""),
                created_at=START + timedelta(seconds=number),
                detections=[("ship", 0.5)] if number % 3 else None,
            )
            for number in range(240)
        ],
    )
    removal.hide_records(chat, chat.inferences.filter(inference_id__endswith="20"))
    for query in ASKED:
        filters = text.parse(query)
        rows = matching(chat, filters)
        wanted = list(rows.oldest_first().values_list("inference_id", flat=True))
        for direction in ("asc", "desc"):
            seen, cursor = [], None
            while len(seen) <= 240:
                asked = Pagination(direction, 13, cursor=cursor)
                page = InferenceQuery(filters, asked).page(chat)
                seen += [each.inference_id for each in page.inferences]
                if (cursor := page.next) is None:
                    break
            assert seen == wanted[:: 1 if direction == "asc" else -1], query
        assert count_matching(chat, filters).number == len(wanted), query
        assert count_matching(chat, filters, 5).number == min(len(wanted), 5), query
        assert sorted(
            rare_label_scan.all_matching(chat, filters).values_list(
                "inference_id", flat=True
            )
        ) == sorted(wanted)


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


# What the database makes of words


@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(
    st.text(
        st.characters(exclude_categories=["Cs"])
        | st.sampled_from("aé 1e.-_́東ไ😀\u200d"),
        max_size=40,
    )
)
def check_words(given_text: str) -> None:
    words = [word for part in parts_of(given_text) for word in part.split()]
    assert len(words) == len(words_of(given_text))
    assert [word for word, _, _ in spans_of(given_text)] == words_of(given_text)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT lexeme, positions FROM unnest(to_tsvector('simple', %s))",
            [to_document(words_of(given_text))],
        )
        placed = {at: lexeme for lexeme, places in cursor for at in places}
    assert [placed[at] for at in sorted(placed)] == words
    for word in words_of(given_text):  # as it is searched for
        assert read_expression(word).phrases == [Phrase((word,))]


@all_letters
def test_each_word_of_any_text_is_one_lexeme(db):
    check_words()


@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(
    st.text(
        st.characters(exclude_categories=["Cs"]) | st.sampled_from('ab "*-OR'),
        max_size=30,
    )
)
def test_an_expression_is_written_as_it_is_read(given_text):
    try:
        expression = read_expression(given_text)
    except ValueError:
        return
    assert read_expression(str(expression)) == expression
    if "\0" not in given_text:
        filters = FullTextFilter("text", given_text)
        assert text.parse(text.write(filters)) == normal(filters)


def test_parts_keep_below_the_limits_and_overlap():
    words = [f"w{n % 7}" for n in range(5_000)] + [f"x{n}" for n in range(40_000)]
    for language in ("simple", "english", "arabic"):
        parts = [part.split() for part in parts_of(" ".join(words), language)]
        assert max(map(len, parts)) <= 12_000
        assert all(max(Counter(part).values()) <= 250 for part in parts)
        joined = parts[0]
        for part in parts[1:]:
            assert part[:29] == joined[-29:]
            joined = joined + part[29:]
        assert joined == words


# The API, the pages, the command


def test_the_api_takes_words_in_every_form(chat, api):
    record(chat, [new("a", "The wet paint"), new("bb", "dry", "wet")])
    address = "/api/v1/models/chat/inferences"

    def ids(answer):
        assert answer.status_code == 200, answer.content
        return [each["inference_id"] for each in answer.json()["results"]]

    assert ids(api.get(address, {"said": "wet -dry"})) == ["a"]
    assert ids(api.get(address, {"answer": "we*"})) == ["bb"]
    tree = {"not": {"text": '"wet paint"'}}
    assert ids(api.post(f"{address}/filter", {"filter": tree})) == ["bb"]
    both = {"filter": {"text": "wet", "prompt": "dry OR moist"}}
    assert ids(api.post(f"{address}/filter", both)) == ["bb"]
    assert api.post(f"{address}/count", {"query": "text:wet"}).json()["count"] == 2
    refused = api.post(f"{address}/filter", {"filter": {"text": "—"}})
    assert refused.status_code == 400
    assert "At least one word" in refused.content.decode()


def test_the_api_tells_and_changes_the_index(chat, api):
    record(chat, [new("a", "running")])
    index, settings_of = (
        "/api/v1/models/chat/text-index",
        "/api/v1/models/chat/inference-server-settings",
    )
    assert api.get(index).json()["task"] is None
    assert "german" in api.get(index).json()["languages"]

    wrong = api.patch(settings_of, {"text_search_language": "klingon"})
    assert wrong.status_code in (400, 422) and "english" in wrong.content.decode()
    api.patch(settings_of, {"text_search_language": "english"})
    told = api.get(index).json()
    assert (told["language"], told["task"]["state"]) == ("english", "pending")
    assert api.post(index).status_code == 202
    states = list(
        chat.text_index_tasks.order_by("created_at").values_list("state", flat=True)
    )
    assert states == ["stopped", "pending"]


def test_cards_and_page_mark_what_was_found(chat, person):
    chat.text_search_language = "english"
    chat.save()
    record(
        chat,
        [
            new(
                "a",
                "<b>Who</b> was running in the rain? " + "x " * 300,
                "They ran & run.",
            ),
            new("bb", "no"),
        ],
    )
    client = person()
    page = client.get("/models/chat/inferences", {"said": "run"}).content.decode()
    assert "<mark>running</mark>" in page and "<mark>run</mark>" in page
    assert "&lt;b&gt;Who" in page and "<b>Who" not in page
    assert 'name="said"' in page and 'value="run"' in page

    detail = client.get(
        "/models/chat/inferences/a", {"q": 'prompt:"running in the rain"'}
    ).content.decode()
    assert "<mark>running</mark>" in detail and "<mark>rain</mark>" in detail
    assert "<mark>run</mark>" not in detail
    assert "<mark>" not in client.get("/models/chat/inferences/a").content.decode()


def test_the_settings_page_chooses_a_language_and_shows_the_task(chat, person, queue):
    record(chat, [new("a", "hello")])
    client = person(Role.EDITOR)
    assert "klingon" not in client.get("/models/chat/settings").content.decode()
    message = {
        "box_format": "yxyx",
        "first_class_number": "0",
        "text_search_language": "german",
    }
    client.post("/models/chat/settings", message)
    chat.refresh_from_db()
    assert chat.text_search_language == "german"
    part = client.get("/models/chat/settings", {"part": "texts"}).content.decode()
    assert "0 of 1 records" in part
    client.post("/models/chat/text-index", {"act": "stop"})
    assert chat.text_index_tasks.get().state == "stopped"


# Removal, erasure, verification


def test_verify_finds_what_is_missing_and_what_is_left(chat, model):
    record(chat, [new("a", "hello", "world"), new("bb", "bye"), new("ccc", "so")])
    record(model, [new("picture")])
    rows = {each.inference_id: each.id for each in chat.inferences.all()}

    def look(repair=False):
        return sorted(
            (each.kind, each.repaired)
            for each in consistency_checks.rows(Scope(now(), repair=repair))
        )

    assert look() == []
    InferenceText.objects.beside(chat).filter(id=rows["a"]).delete()
    InferenceText.objects.bulk_create(
        InferenceText(id=row_id, registered_model=owner, side=2, part=0, words="lost")
        for row_id, owner in ((77, chat), (model.inferences.get().id, model))
    )
    removal.INPUTS.intend(chat, chat.inferences.filter(inference_id="bb"))
    removal.INPUTS.finish(chat)
    InferenceText.objects.bulk_create(
        [
            InferenceText(
                id=rows["bb"], registered_model=chat, side=1, part=0, words="bye"
            )
        ]
    )
    wrong = ["prompt-left", "searched text-alone", "texts-left", "texts-missing"]
    assert look() == [(kind, False) for kind in wrong]
    assert look(repair=True) == [(kind, True) for kind in wrong]
    assert look() == []
    assert found(chat, "text:hello") == {"a"}
    assert found(chat, "text:bye") == set()


def test_an_erasure_leaves_no_words(chat, project, queue):
    person = typed("person", "Anna Karenina")
    record(
        chat,
        [new("a", "Dear Anna", "Hello Anna", metadata=[person]), new("bb", "hello")],
    )

    task = open_task(project, value="Anna Karenina")
    erase(task)

    task.refresh_from_db()
    assert (task.state, task.report["proof"]["left"]) == ("complete", 0)
    assert "inferences_inferencetext" not in tables_with("anna")
    assert found(chat, "text:hello") == {"bb"}


def test_a_task_that_broke_off_goes_on_where_it_stopped(chat, queue, monkeypatch):
    record(chat, [new("a" * n, f"word{n}") for n in range(1, 6)])
    monkeypatch.setattr(
        text_reindexing, "NEXT", text_reindexing.NEXT.replace("LIMIT 500", "LIMIT 2")
    )
    InferenceText.objects.all().delete()
    TextIndexTask.objects.all().delete()
    task = text_reindexing.start("test", chat)
    TextIndexTask.objects.update(created_at=START)
    failpoints.arm("text_reindexing.batch=raise")
    task.refresh_from_db()
    text_reindexing.carry_out(task)
    failpoints.arm("")
    assert found(chat, "text:word5") == {"aaaaa"}
    assert found(chat, "text:word1") == set()

    TextIndexTask.objects.update(lease_until=START)
    task.refresh_from_db()
    assert task.done == 2
    text_reindexing.carry_out(task)
    task.refresh_from_db()
    assert (task.state, task.done) == ("complete", 5)
    assert found(chat, "text:word1") == {"a"}


def test_an_older_answer_that_lies_in_a_blob_is_found_whole(chat):
    long = "start " + "filler " * 30_000 + "finish"
    blobs.put("texts/answer", completion(long).encode())
    facts = {"answer": {"size": len(long) + 90}}
    record(chat, [new("a", data="", answer_storage_key="texts/answer", notes=facts)])

    assert found(chat, "answer:finish") == {"a"}
    assert found(chat, 'answer:"filler finish"') == {"a"}


def test_a_batch_of_long_texts_is_split(chat, monkeypatch):
    monkeypatch.setattr(text_indexing, "PORTION_BYTES", 300)
    batches = []
    record(
        chat,
        [new("a" * n, "", f"word{n} " * 20) for n in range(1, 6)],
        lambda stored: batches.append(len(stored)),
    )
    assert batches == [1] * 5
    assert found(chat, "text:word3") == {"aaa"}


def test_a_blob_that_cannot_be_read_leaves_the_record_without_its_words(
    chat, monkeypatch
):
    def fail(key, *_):
        raise OSError("the disk says no")

    monkeypatch.setattr(blobs, "open_blob", fail)
    assert record(chat, [new("a", "hello", "world")]) == {"a": Outcome.NEW}
    assert found(chat, "answer:world") == {"a"}
    assert found(chat, "text:hello") == set()

    monkeypatch.setattr(blobs, "exists", fail)  # the storage is away as a whole
    with pytest.raises(OSError):
        record(chat, [new("bb", "hello")])
    with pytest.raises(StoreAway):
        batch_writer._record(chat, [new("bb", "hello")])
    assert not chat.inferences.filter(inference_id="bb").exists()
