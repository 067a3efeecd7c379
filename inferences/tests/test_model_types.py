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
from inferences.tests.test_create_inference import body
from inferences.web.view_models.contents import pieces
from protocols.open_inference import rows
from protocols.open_inference.actions import action_of

INFERENCES = "/api/v1/models/yolo-harbour/inferences"
POINTS = [[{"x": 1, "y": 1}, {"x": 9, "y": 1}, {"x": 9, "y": 9}]]
BOX = {"label": "ship", "score": 0.9, "xmin": 1, "ymin": 2, "xmax": 30, "ymax": 40}
TURNED = {"label": "ship", "score": 0.9, "cx": 0.5, "cy": 0.5, "w": 0.2, "h": 0.1}
CLASSES = [{"label": "good", "score": 0.8}, {"label": "bad", "score": 0.2}]
SPANS = [
    {"label": "PER", "start": 0, "end": 4, "score": 0.9},
    {"label": "LOC", "start": 14, "end": 23, "score": 0.8},
]
FORECAST = {
    "values": [3.0, 5.0, 4.0],
    "times": ["mon", "tue", "wed"],
    "lower": [2.0, 4.0, 3.0],
    "upper": [4.0, 6.0, 5.0],
    "history": [1.0, 2.0],
}
CHAT = {
    "messages": [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello there"},
    ]
}

# Task: the part of a create, what finds it, what the page says, export columns.
CASES = {
    TaskType.IMAGE_CLASSIFICATION: (
        {"image_classification": CLASSES},
        "label:good score>0.7",
        ["Classes", "good"],
        {
            "label": "good",
            "score": 0.8,
            "labels": ["good", "bad"],
            "scores": [0.8, 0.2],
        },
    ),
    TaskType.TEXT_CLASSIFICATION: (
        {"text_classification": CLASSES},
        "label:good score>0.7",
        ["Classes", "good"],
        {
            "label": "good",
            "score": 0.8,
            "labels": ["good", "bad"],
            "scores": [0.8, 0.2],
        },
    ),
    TaskType.TABULAR_CLASSIFICATION: (
        {"classification": CLASSES},
        "label:good score>0.7",
        ["Classes", "good"],
        {
            "label": "good",
            "score": 0.8,
            "labels": ["good", "bad"],
            "scores": [0.8, 0.2],
        },
    ),
    TaskType.OBJECT_DETECTION: (
        {"object_detection": [BOX]},
        "label:ship",
        ["Found", "ship"],
        {
            **{"label": "ship", "score": 0.9, "labels": ["ship"], "scores": [0.9]},
            "boxes": json.dumps([BOX], separators=(",", ":")).replace(":1,", ":1.0,"),
        },
    ),
    TaskType.ORIENTED_OBJECT_DETECTION: (
        {"oriented_object_detection": [{**TURNED, "r": 0.3}]},
        "label:ship",
        ["Found", "ship"],
        None,
    ),
    TaskType.IMAGE_SEGMENTATION: (
        {"image_segmentation": [{"label": "ship", "score": 0.9, "contours": POINTS}]},
        "label:ship",
        ["Found", "ship"],
        None,
    ),
    TaskType.NAMED_ENTITIES: (
        {"named_entities": SPANS, "inputs": {"text": "Anna lives in Rotterdam."}},
        "label:LOC score<0.85",
        ["Entities", "<mark", "Rotterdam", "PER"],
        {
            **{"label": "PER", "score": 0.9, "labels": ["PER", "LOC"]},
            **{"scores": [0.9, 0.8]},
            "entities": json.dumps(SPANS, separators=(",", ":")),
        },
    ),
    TaskType.RANKING: (
        {"ranking": [{"item": "b", "score": 2.5}, {"item": "a", "score": 7.0}]},
        "label:a score>5",
        ["Ranking", "7.000"],
        {"ranking": ["a", "b"], "scores": [7.0, 2.5]},
    ),
    TaskType.TABULAR_REGRESSION: (
        {"regression": {"value": 42.5, "lower": 40, "upper": 45}},
        "meta.prediction>42.4 meta.prediction<=42.5",
        ["Prediction", "42.5", "Between 40 and 45"],
        {"value": 42.5, "lower": 40.0, "upper": 45.0},
    ),
    TaskType.MULTI_OUTPUT: (
        {"multi_output": {"price": 12.5, "colour": "red"}},
        "meta.prediction.price=12.5 meta.prediction.colour=red",
        ["Outputs", "price", "red"],
        {"values": '{"price":12.5,"colour":"red"}'},
    ),
    TaskType.TIME_SERIES: (
        {"time_series": FORECAST},
        "meta.prediction.max=5.0 meta.prediction.last<4.5 meta.prediction.mean=4.0",
        ["Forecast", 'class="band"', "wed"],
        {"series": [3.0, 5.0, 4.0], "times": ["mon", "tue", "wed"]},
    ),
    TaskType.TEXT_GENERATION: (
        {"text_generation": {**CHAT, "finish_reason": "stop"}},
        "meta.prediction contains there meta.finish_reason=stop",
        ["Text", "turn-assistant", "Hello there", "ended by"],
        {"text": "Hi\n\nHello there"},
    ),
    TaskType.IMAGE_EMBEDDING: (
        {"embedding": [0.1, -0.2, 0.3]},
        "no:detections OR *",
        ["Embedding", "3 numbers"],
        {},
    ),
    TaskType.TEXT_EMBEDDING: (
        {"embedding": [0.1, -0.2, 0.3]},
        "*",
        ["Embedding", "3 numbers"],
        {},
    ),
}


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


def given(inference_id: str, parts: dict, **fields) -> dict:
    made = body(inference_id, **fields)
    metadata = made["data"]["metadata"]
    made["data"] = {**parts, "metadata": metadata}
    return made


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
    parts, query, shown, columns = CASES[task]

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
    if columns is not None:
        said = deconstruct(parts, task_type=task, embedding_size=model.embedding_size)
        made = prediction_of(task, said)
        assert {k: made[k] for k in columns if k != "boxes"} == {
            k: v for k, v in columns.items() if k != "boxes"
        }
        assert made.keys() <= set(type_of(task).names)


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
    said = deconstruct([V2[task]], task_type=task)

    assert said.understood
    expected = {
        TaskType.TABULAR_REGRESSION: {"value": 42.5},
        TaskType.TIME_SERIES: {"series": [3.0, 5.0, 4.0]},
        TaskType.MULTI_OUTPUT: {"values": '{"0":1.5,"1":2.0}'},
        TaskType.RANKING: {"ranking": ["b", "a"]},
        TaskType.TEXT_GENERATION: {"text": "Once upon"},
        TaskType.NAMED_ENTITIES: {"label": "PER"},
    }[task]
    assert expected.items() <= prediction_of(task, said).items()


def test_a_chat_completion_is_text_whatever_the_task():
    said = deconstruct(
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

    assert said.content.messages[0].text == "Hello"
    assert (said.content.finish_reason, said.content.tokens) == ("stop", 7)
    assert said.pairs is None


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

    told = person.get(reverse("inferences:detail", args=[model.model_id, "a"]))

    page = told.content.decode()
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
    said = deconstruct(
        [
            {"label": "A", "start": 2, "end": 5},
            {"label": "B", "start": 3, "end": 4},
            {"label": "C", "start": 5, "end": 99},
        ],
        task_type="Named Entity Recognition",
    )

    cut = pieces("0123456789", said.content.entities, len)

    assert "".join(piece.text for piece in cut) == "0123456789"
    assert [(piece.text, piece.label) for piece in cut] == [
        ("01", ""),
        ("234", "A"),
        ("56789", "C"),
    ]
