"""Every model type: stored by create and by the proxy's form, found, shown, exported."""

from __future__ import annotations

import json

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from inferences.ground_truth.truths import FORMS
from inferences.models import TaskType
from inferences.predictions.columns import actual_of, prediction_of
from inferences.predictions.model_types import MODEL_TYPES, type_of
from inferences.predictions.model_types.base import Takes
from inferences.predictions.parse import deconstruct
from inferences.tests.model_type_cases import (
    CASES,
    CLASSES,
    INFERENCES,
    SPANS,
    given,
)
from inferences.web.view_models.contents import pieces
from protocols.open_inference import rows
from protocols.open_inference.actions import action_of


@pytest.fixture
def person(project) -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("anna", password="anchor-42"))
    return client


@pytest.fixture
def of_task(model):
    def change(task: str):
        model.task_type = task
        model.embedding_size = 3 if "Embedding" in task else 0
        model.save()
        return model

    return change


def test_every_task_is_described():
    assert {each.task for each in MODEL_TYPES} == set(TaskType) == set(CASES)
    assert all(form in FORMS for each in MODEL_TYPES for form in each.forms)


@pytest.mark.parametrize("type_", MODEL_TYPES, ids=lambda type_: type_.task)
def test_protocols_go_by_words_of_the_name_that_say_what_the_type_says(type_):
    # ``protocols`` knows no model types, so a name has to have its words.
    assert type_.task.startswith(rows.TEXT) == (type_.takes is Takes.TEXT)
    assert not type_.task.startswith(rows.TABULAR) or type_.takes is Takes.ROWS
    assert type_.task.startswith(rows.PICTURES) == (type_.takes is Takes.FILE)
    assert action_of({}, type_.task) in (type_.action, "predict")


@pytest.mark.parametrize("task", CASES)
def test_a_model_type_is_stored_found_shown_and_exported(api, person, of_task, task):
    model = of_task(task)
    parts, query, shown, _ = CASES[task]

    created = api.post(INFERENCES, given("a", parts), format="json")
    assert created.status_code == 201, created.content
    again = api.post(INFERENCES, given("a", parts), format="json")
    assert again.status_code == 200

    found = api.post(f"{INFERENCES}/filter", {"query": query}, format="json").json()
    assert [each["inference_id"] for each in found["results"]] == ["a"]
    page = person.get(reverse("inferences:detail", args=[model.model_id, "a"]))
    assert page.status_code == 200
    for each in shown:
        assert each in page.content.decode(), each
    listed = person.get(reverse("inferences:browse", args=[model.model_id]))
    assert listed.status_code == 200


@pytest.mark.parametrize(
    "task", [task for task, (*_, columns) in CASES.items() if columns is not None]
)
def test_the_columns_of_a_model_type_are_those_of_its_answers(of_task, task):
    model = of_task(task)
    parts, _, _, columns = CASES[task]

    answer = deconstruct(parts, task_type=task, embedding_size=model.embedding_size)
    made = prediction_of(task, answer)

    assert made.keys() <= set(type_of(task).names)
    assert {k: made[k] for k in columns if k != "boxes"} == {
        k: v for k, v in columns.items() if k != "boxes"
    }


@pytest.mark.parametrize(
    ("parts", "name"),
    [
        ({"regression": {"value": "many"}}, "regression"),
        ({"regression": [1, 2]}, "regression"),
        ({"multi_output": {}}, "multi_output"),
        ({"time_series": {"values": []}}, "time_series"),
        ({"time_series": {"values": [1, "x"]}}, "time_series"),
        ({"text_generation": {"messages": [3]}}, "text_generation"),
        ({"named_entities": [{"label": "A", "start": 5, "end": 2}]}, "named_entities"),
        ({"ranking": [{"score": 2}]}, "ranking"),
        ({"shap_values": {"age": "much"}}, "shap_values"),
        ({"embeddings": {"a": ["x"]}}, "embeddings"),
        ({"embeddings": {f"{n}": [1] for n in range(21)}}, "embeddings"),
        ({"inputs": [1]}, "inputs"),
    ],
)
def test_a_part_that_cannot_be_read_is_refused_by_name(api, model, parts, name):
    response = api.post(INFERENCES, given("a", parts), format="json")

    assert response.status_code == 400, response.content
    assert name in response.json()["errors"][0]["pointer"]
    assert not model.inferences.exists()


V2 = {
    TaskType.TABULAR_REGRESSION: {
        "name": "predict",
        "datatype": "FP64",
        "shape": [1, 1],
        "data": [42.5],
    },
    TaskType.TIME_SERIES: {
        "name": "forecast",
        "datatype": "FP64",
        "shape": [1, 3],
        "data": [3, 5, 4],
    },
    TaskType.MULTI_OUTPUT: {
        "name": "y",
        "datatype": "FP64",
        "shape": [1, 2],
        "data": [1.5, 2],
    },
    TaskType.RANKING: {
        "name": "items",
        "datatype": "BYTES",
        "shape": [2],
        "data": ["b", "a"],
    },
    TaskType.TEXT_GENERATION: {
        "name": "text",
        "datatype": "BYTES",
        "shape": [1],
        "data": ["Once upon"],
    },
    TaskType.NAMED_ENTITIES: {
        "name": "spans",
        "datatype": "BYTES",
        "shape": [1],
        "data": [json.dumps(SPANS)],
    },
}


@pytest.mark.parametrize("task", V2)
def test_answers_of_servers_are_read_by_the_task_of_their_model(task):
    answer = deconstruct([V2[task]], task_type=task)

    assert answer.understood
    expected = {
        TaskType.TABULAR_REGRESSION: {"value": 42.5},
        TaskType.TIME_SERIES: {"series": [3.0, 5.0, 4.0]},
        TaskType.MULTI_OUTPUT: {"values": '{"0":1.5,"1":2.0}'},
        TaskType.RANKING: {"ranking": ["b", "a"]},
        TaskType.TEXT_GENERATION: {"text": "Once upon"},
        TaskType.NAMED_ENTITIES: {"label": "PER"},
    }[task]
    assert expected.items() <= prediction_of(task, answer).items()


def test_a_chat_completion_is_text_whatever_the_task():
    answer = deconstruct(
        {
            "choices": [
                {
                    "message": {"role": "assistant", "content": "Hello"},
                    "finish_reason": "stop",
                }
            ],
            "usage": {"completion_tokens": 7},
        }
    )

    assert answer.content.messages[0].text == "Hello"
    assert (answer.content.finish_reason, answer.content.tokens) == ("stop", 7)
    assert answer.pairs is None


def test_what_stands_beside_an_answer_is_shown(api, person, of_task):
    model = of_task(TaskType.TABULAR_CLASSIFICATION)
    parts = {
        "classification": CLASSES,
        "shap_values": {"age": 0.5, "income": -0.25},
        "embeddings": {"user": [0.1, 0.2], "item": [0.3, -0.4]},
        "inputs": {"age": 44, "note": "needs a long look" * 20},
    }
    made = given("a", parts)
    made["data"]["metadata"]["extended_metadata"] = [
        {"key": key, "type": "string", "value": value}
        for key, value in (
            ("model_version", "v7"),
            ("environment", "validation"),
            ("batch_id", "b-3"),
            ("conversation_id", "c-9"),
        )
    ]
    assert api.post(INFERENCES, made, format="json").status_code == 201

    answer = person.get(reverse("inferences:detail", args=[model.model_id, "a"]))

    page = answer.content.decode()
    for each in (
        "Feature contributions",
        "income",
        "Embeddings",
        "item",
        "Inputs",
        "needs a long",
    ):
        assert each in page, each
    for each in (
        "version v7",
        "environment validation",
        "batch b-3",
        "conversation c-9",
    ):
        assert each in page, each
    found = api.post(
        f"{INFERENCES}/filter", {"query": "env:validation version:v7"}, format="json"
    )
    assert len(found.json()["results"]) == 1


def test_a_key_that_the_caller_gave_stays_the_caller_s(api, of_task):
    of_task(TaskType.TABULAR_REGRESSION)
    made = given("a", {"regression": 3.5})
    made["data"]["metadata"]["extended_metadata"] = [
        {"key": "prediction", "type": "string", "value": "mine"}
    ]

    stored = api.post(INFERENCES, made, format="json").json()

    assert stored["metadata"] == [
        {"key": "prediction", "type": "string", "value": "mine"}
    ]


def test_a_repeat_is_a_copy_although_numbers_were_derived(api, of_task):
    of_task(TaskType.TABULAR_REGRESSION)
    made = given("a", {"regression": 3.5})

    first = api.post(INFERENCES, made, format="json")

    derived = {"key": "prediction", "type": "float", "value": "3.5"}
    assert derived in first.json()["metadata"]
    assert api.post(INFERENCES, made, format="json").status_code == 200


def test_actuals_have_the_columns_of_predictions():
    assert actual_of("Ranking", {"relevance": {"a": 1, "b": 3}})["ranking"] == [
        "b",
        "a",
    ]
    truth = {"labels": ["x", "y"], "score": 0.5}
    assert actual_of("Image Classification", truth) == {
        "labels": ["x", "y"],
        "score": 0.5,
        "label": "x",
    }


def test_pieces_of_a_text_are_the_text():
    answer = deconstruct(
        [
            {"label": "A", "start": 2, "end": 5},
            {"label": "B", "start": 3, "end": 4},
            {"label": "C", "start": 5, "end": 99},
        ],
        task_type="Named Entity Recognition",
    )

    cut = pieces("0123456789", answer.content.entities, len)

    assert "".join(piece.text for piece in cut) == "0123456789"
    assert [(piece.text, piece.label) for piece in cut] == [
        ("01", ""),
        ("234", "A"),
        ("56789", "C"),
    ]
