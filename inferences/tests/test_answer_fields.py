from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime

import pytest

from inferences.models import InferencePayload
from inferences.store import answer_fields
from inferences.store.answer_fields import FIELDS
from istore import blobs
from istore.models import Project

ONE = "/api/v1/models/yolo-harbour/inferences"
FILTER = f"{ONE}/filter"
BOX = {"label": "ship", "score": 0.9, "xmin": 1, "ymin": 2, "xmax": 30, "ymax": 40}


@pytest.fixture
def kept(make_inference):
    """``kept("a", answer, b"input")``: an inference whose input lies in storage."""

    def keep(name, answer, content=b"", content_type="text/plain", **fields):
        key = f"inputs/{name}" if content else ""
        if key:
            blobs.put(key, content)
        text = answer if isinstance(answer, str) else json.dumps(answer)
        return make_inference(
            inference_id=name,
            data=text,
            data_storage_key=key,
            data_content_type=content_type if key else "",
            data_size=len(content),
            data_hash=hashlib.sha256(content).digest(),
            **fields,
        )

    return keep


def typed(model, task_type, **settings):
    model.task_type = task_type
    for name, value in settings.items():
        setattr(model, name, value)
    model.save()


def read(api, name, **parameters):
    response = api.get(f"{ONE}/{name}", parameters)
    assert response.status_code == 200, response.content
    return response.json()


def test_one_inference_has_all_fields_and_a_list_none(api, kept):
    kept("a", {"object_detection": [BOX]})

    assert read(api, "a").keys() >= set(FIELDS)
    (listed,) = api.get(ONE).json()["results"]
    assert listed.keys().isdisjoint(FIELDS)
    (found,) = api.post(FILTER, {}).json()["results"]
    assert found.keys().isdisjoint(FIELDS)


def test_a_list_has_the_fields_that_are_asked_for(api, kept):
    kept("a", {"object_detection": [BOX]})

    for response in (
        api.get(ONE, {"fields": "detections,prompt"}),
        api.post(FILTER, {"fields": ["detections", "prompt"]}),
        api.post(FILTER, {"fields": "detections, prompt"}),
    ):
        (found,) = response.json()["results"]
        assert found["detections"] == [BOX]
        assert found["prompt"] is None
        assert "probabilities" not in found and "unread" not in found


def test_all_models_of_a_project_give_fields_by_their_own_settings(api, kept, model):
    kept("a", {"object_detection": [BOX]})

    response = api.post(
        f"/api/v1/projects/{model.project.project_id}/inferences/filter",
        {"fields": ["detections"]},
    )

    assert [row["detections"] for row in response.json()["results"]] == [[BOX]]


@pytest.mark.parametrize("given", ["detection", "detections,colour", "", "a" * 3000])
def test_an_unknown_field_is_a_400_that_names_it(api, model, given):
    for response in (
        api.get(ONE, {"fields": given}),
        api.post(FILTER, {"fields": given.split(",")}),
    ):
        assert response.status_code == 400
        (error,) = response.json()["errors"]
        assert error["pointer"] == "/fields"
        assert given.rpartition(",")[2][:40] in error["message"]


@pytest.mark.parametrize("given", [3, {"a": 1}, [1], ["detections"] * 101])
def test_what_is_no_list_of_names_is_a_400(api, model, given):
    response = api.post(FILTER, {"fields": given})

    assert response.status_code == 400
    assert response.json()["errors"][0]["pointer"] == "/fields"


def test_a_count_may_be_asked_as_a_page_is(api, kept):
    kept("a", {"object_detection": [BOX]})

    assert api.post(f"{ONE}/count", {"fields": ["detections"]}).json()["count"] == 1


@pytest.mark.parametrize(
    ("task_type", "answer", "detections"),
    [
        ("Object Detection", {"object_detection": []}, []),
        ("Object Detection", {"foo": 1}, None),
        ("Object Detection", "", None),
        (
            "Oriented Object Detection",
            {
                "oriented_object_detection": [
                    {
                        "label": "s",
                        "score": 1,
                        "cx": 0.5,
                        "cy": 0.5,
                        "w": 0.1,
                        "h": 0.2,
                        "r": 1,
                    }
                ]
            },
            [
                {
                    "label": "s",
                    "score": 1,
                    "cx": 0.5,
                    "cy": 0.5,
                    "w": 0.1,
                    "h": 0.2,
                    "r": 1,
                }
            ],
        ),
        (
            "Image Segmentation",
            {
                "image_segmentation": [
                    {"label": "s", "contours": [[[0, 0], [4, 0], [4, 4]]]}
                ]
            },
            [{"label": "s", "score": None, "contours": [[[0, 0], [4, 0], [4, 4]]]}],
        ),
        (
            "Image Segmentation",
            [
                {
                    "label": "s",
                    "score": 0.5,
                    "segmentation": {"size": [2, 3], "counts": [1, 2, 3]},
                }
            ],
            [
                {
                    "label": "s",
                    "score": 0.5,
                    "mask": {"size": [2, 3], "counts": [1, 2, 3]},
                }
            ],
        ),
        ("Tabular Regression", {"regression": 3.5}, None),
        ("Text Generation", {"text_generation": "hello"}, None),
    ],
)
def test_detections_have_the_geometry_of_the_collection(
    api, kept, model, task_type, answer, detections
):
    typed(model, task_type)
    kept("a", answer)

    assert read(api, "a")["detections"] == detections


def test_boxes_in_parts_of_the_picture_say_so(api, kept, model):
    typed(model, "Object Detection", box_format="xyxy_normalised")
    output = [
        {"name": n, "shape": s, "datatype": "FP32", "data": d}
        for n, s, d in (
            ("boxes", [1, 4], [0.1, 0.2, 0.3, 0.4]),
            ("scores", [1], [0.9]),
            ("labels", [1], [0]),
        )
    ]
    kept("a", {"outputs": output})

    (found,) = read(api, "a")["detections"]
    assert found["normalised"] is True
    assert (found["xmin"], found["ymax"]) == (0.1, 0.4)


def test_a_classifier_gives_its_best_class_and_the_distribution(api, kept, model):
    typed(model, "Image Classification")
    classes = [
        {"label": n, "score": s} for n, s in (("a", 0.2), ("b", 0.4), ("c", 0.4))
    ]
    kept("a", {"image_classification": classes})

    found = read(api, "a")
    assert found["detections"] == [{"label": "b", "score": 0.4}]
    assert [each["label"] for each in found["probabilities"]] == ["b", "c", "a"]
    assert found["prediction"]["label"] == "b"


def test_entities_come_with_their_spans(api, kept, model):
    typed(model, "Named Entity Recognition")
    span = {"label": "PER", "start": 0, "end": 3, "score": 0.9}
    kept("a", {"named_entities": [span]}, b"Ada wrote")

    found = read(api, "a")
    assert found["entities"] == [span | {"text": None}]
    assert found["prompt"] == "Ada wrote"
    assert found["prediction"]["entities"] == [span]


@pytest.mark.parametrize(
    ("task_type", "answer", "prediction"),
    [
        (
            "Tabular Regression",
            {"regression": {"value": 3.5, "lower": 3, "upper": 4}},
            {"value": 3.5, "lower": 3, "upper": 4},
        ),
        ("Multi-Output", {"multi_output": {"a": 1}}, {"values": {"a": 1}}),
        ("Time Series", {"time_series": {"values": [1, 2]}}, {"series": [1, 2]}),
        (
            "Ranking",
            {"ranking": [{"item": "x", "score": 0.1}, {"item": "y", "score": 0.7}]},
            {"ranking": ["y", "x"], "scores": [0.7, 0.1]},
        ),
        ("Text Generation", {"text_generation": "hello"}, {"text": "hello"}),
        ("Text Generation", {"foo": 1}, None),
    ],
)
def test_a_prediction_has_the_columns_of_exports(
    api, kept, model, task_type, answer, prediction
):
    typed(model, task_type)
    kept("a", answer)

    assert read(api, "a")["prediction"] == prediction


def test_a_chat_gives_prompt_and_response(api, kept, model):
    typed(model, "Text Generation")
    asked = {"messages": [{"role": "user", "content": "What is a quay?"}]}
    answer = {"choices": [{"message": {"role": "assistant", "content": "A wharf."}}]}
    kept("a", answer, json.dumps(asked).encode(), "application/json")

    (found,) = api.get(ONE, {"fields": "prompt,response"}).json()["results"]
    assert (found["prompt"], found["response"]) == ("What is a quay?", "A wharf.")


def test_the_named_input_of_a_collection_is_the_prompt(api, kept, model):
    typed(model, "Text Generation")
    kept("a", {"text_generation": "hi", "inputs": {"text": "hello"}})

    (found,) = api.get(ONE, {"fields": "prompt"}).json()["results"]
    assert found["prompt"] == "hello"


@pytest.mark.parametrize("gone", ["input_removal_at", "input_expired_at"])
def test_an_input_that_is_on_its_way_out_is_no_prompt(api, kept, model, gone):
    typed(model, "Text Generation")
    answer = {"text_generation": "hi", "inputs": {"text": "secret"}}
    row = kept("a", answer, b"secret")
    InferencePayload.objects.beside(model).filter(id=row.id).update(
        **{gone: datetime(2025, 6, 2, tzinfo=UTC)}
    )

    found = read(api, "a")
    assert found["prompt"] is None and "unread" not in found


def test_a_blob_that_is_not_there_leaves_the_others_of_a_page(api, kept, model):
    typed(model, "Text Generation")
    for name in ("a", "b", "c"):
        kept(name, {"text_generation": name}, name.encode())
    blobs.delete(["inputs/b"])

    rows = api.get(ONE, {"fields": "prompt,response"}).json()["results"]

    found = {row["inference_id"]: row for row in rows}
    assert [found[name]["prompt"] for name in "abc"] == ["a", None, "c"]
    assert found["b"]["unread"] == {"prompt": "missing"}
    assert found["b"]["response"] == "b"


def test_storage_that_fails_is_no_500(api, kept, model, monkeypatch):
    typed(model, "Text Generation")
    kept("a", {"text_generation": "a"}, b"hello")

    def fail(key):
        raise OSError("no route to the store")

    monkeypatch.setattr(answer_fields.blobs, "open_blob", fail)
    assert read(api, "a")["unread"] == {"prompt": "missing"}


def test_bytes_of_a_page_are_bounded(api, kept, model, settings):
    typed(model, "Text Generation")
    for name in ("a", "b", "c"):
        kept(name, {"text_generation": name}, name.encode() * 1000)
    settings.ISTORE_FIELDS_MAX_BYTES = 2500

    rows = api.get(ONE, {"fields": "prompt"}).json()["results"]

    prompts = [row["prompt"] is not None for row in rows]
    assert prompts == [True, True, False]
    assert rows[2]["unread"] == {"prompt": "page-too-large"}


def test_an_answer_in_a_blob_is_read(api, kept, model):
    content = json.dumps({"object_detection": [BOX]}).encode()
    blobs.put("answers/a", content)
    kept(
        "a",
        "",
        answer_storage_key="answers/a",
        notes={"answer": {"size": len(content)}},
    )

    (found,) = api.get(ONE, {"fields": "detections"}).json()["results"]
    assert found["detections"] == [BOX]


def test_a_picture_is_no_prompt_and_is_not_read(api, kept, model, monkeypatch):
    typed(model, "Text Generation")
    kept("a", {"text_generation": "a"}, b"\x89PNG\r\n", "image/png")
    monkeypatch.setattr(answer_fields.blobs, "open_blob", None)

    found = read(api, "a")
    assert found["prompt"] is None and "unread" not in found


def test_lists_without_fields_read_no_answers(api, kept, monkeypatch):
    kept("a", {"object_detection": [BOX]})
    monkeypatch.setattr(answer_fields, "deconstructed", None)

    assert api.get(ONE).status_code == 200
    assert api.post(FILTER, {"fields": ["prompt"]}).status_code == 200


def test_fields_cost_no_statements_of_their_own(
    api, kept, model, django_assert_num_queries
):
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    for name in ("a", "b", "c"):
        kept(name, {"object_detection": [BOX]}, b"x")
    # One field alone: a page without fields goes a shorter way.
    one = next(iter(FIELDS))
    api.get(ONE, {"fields": one})
    with CaptureQueriesContext(connection) as plain:
        api.get(ONE, {"fields": one})
    with django_assert_num_queries(len(plain)):
        api.get(ONE, {"fields": ",".join(FIELDS)})


def test_other_projects_stay_unseen(api_as, kept, db):
    kept("a", {"object_detection": [BOX]})
    stranger = api_as(of=Project.objects.create(project_id="other"))

    assert stranger.get(f"{ONE}/a").status_code == 404
    assert stranger.get(ONE, {"fields": "detections"}).status_code == 404


def test_the_schema_tells_of_the_fields(api):
    schema = api.get("/api/schema?format=json")
    text = schema.content.decode()
    assert schema.status_code == 200
    assert "probabilities" in text and "page-too-large" in text
