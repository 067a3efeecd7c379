"""Numbers beyond four bytes are refused by the API, item by item, and never clipped."""

from __future__ import annotations

import json

import pytest

from inferences.models import RegisteredModel, TaskType
from inferences.real_numbers import as_real, fits, vector_problem

pytestmark = pytest.mark.django_db

URL = "/api/v1/models/yolo-harbour/inferences"


@pytest.fixture
def model(project) -> RegisteredModel:
    return RegisteredModel.objects.create(
        model_id="yolo-harbour",
        project=project,
        task_type=TaskType.OBJECT_DETECTION,
        embedding_size=2,
    )


def body(inference_id: str = "a", **parts) -> dict:
    standard = {
        "data_hash": "00" * 32,
        "data_size": 1,
        "task_type": "Object Detection",
        "inference_action": "detect",
    }
    data = {**parts, "metadata": {"standard_metadata": standard}}
    return {"inference_id": inference_id, "data": data}


def box(score) -> dict:
    return {"label": "a", "score": score, "xmin": 1, "ymin": 1, "xmax": 2, "ymax": 2}


BAD = [
    ({"object_detection": [box(0.5), box(1e39)]}, "/data/object_detection/1/score"),
    ({"object_detection": [box(-(10**60))]}, "/data/object_detection/0/score"),
    (
        {"image_classification": [{"label": "a", "score": 3.5e38}]},
        "/data/image_classification/0/score",
    ),
    (
        {"named_entities": [{"label": "a", "start": 0, "end": 1, "score": 1e40}]},
        "/data/named_entities/0/score",
    ),
    ({"embedding": [1.0, -1e39]}, "/data/embedding/1"),
    ({"embedding": [1e300, 1.0]}, "/data/embedding/0"),
    ({"embedding": [3e38, 3e38]}, "/data/embedding"),
    ({"embedding": [1e-40, 0]}, "/data/embedding"),
    ({"embedding": [1e-320, 0]}, "/data/embedding"),
    ({"embeddings": {"text": [0.5, 1e39]}}, "/data/embeddings/text/1"),
]


@pytest.mark.parametrize(("parts", "pointer"), BAD)
def test_a_number_that_does_not_fit_is_a_400_that_names_its_item(
    api, model, parts, pointer
):
    answer = api.post(URL, body(**parts), format="json")
    assert answer.status_code == 400, answer.content
    assert [each["pointer"] for each in answer.json()["errors"]] == [pointer]
    assert not model.inferences.exists()


def test_one_line_of_a_batch_is_refused_alone(api, model):
    lines = [
        body("a", object_detection=[box(0.5)]),
        body("b", object_detection=[box(1e39)]),
    ]
    text = b"\n".join(json.dumps(each).encode() for each in lines)
    answer = api.post(f"{URL}/batch", text, content_type="application/x-ndjson")
    assert [each["status"] for each in answer.json()["results"]] == [
        "created",
        "refused",
    ]


def test_what_fits_is_stored_and_found_by_its_score(api, model):
    for number, score in enumerate((3.4e38, 1e-46, 0.9)):
        part = {"object_detection": [box(score)], "embedding": [1e-10, 0]}
        answer = api.post(URL, body(f"{number}", **part), format="json")
        assert answer.status_code == 201, answer.content
    for query, expected in (
        ("score>=3.4e38", 1),
        ("score>=1e39", 0),
        ("score<=1e39", 3),
        ("score<-1e39", 0),
        ("score=0.9", 1),
        ("label:a score>=1e39", 0),
        ("label:a score<=1e39", 3),
    ):
        counted = api.post(f"{URL}/count", {"query": query}, format="json")
        assert counted.json()["count"] == expected, query
        listed = api.post(f"{URL}/filter", {"query": query}, format="json")
        assert len(listed.json()["results"]) == expected, query


@pytest.mark.parametrize("vector", [[1e39, 0], [0, -1e300]])
def test_a_query_vector_that_does_not_fit_is_a_400(api, model, vector):
    asked = {"embedding_filters": {"query_embedding": vector}}
    assert api.post(f"{URL}/filter", asked, format="json").status_code == 400


def test_bounds_and_vectors_are_rounded_and_never_clipped():
    assert as_real(0.9) != 0.9
    assert as_real(1e39) == float("inf") and as_real(-1e39) == float("-inf")
    assert not fits(float("nan")) and not fits(float("inf"))
    assert vector_problem([0.0, 0.0]) == ("", None)
    assert vector_problem([]) == ("", None)
    assert vector_problem([0.5, float("nan")])[1] == 1
    assert vector_problem([1e-18, 0])[0] == ""
