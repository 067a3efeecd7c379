"""Lists of class labels whose first number is 1: class 0 is the background."""

from __future__ import annotations

import json

import pytest

from inferences.models import RegisteredModel
from inferences.predictions.parse import deconstruct

MODELS = "/api/v1/models"
LABELS = ["person", "bicycle", "car"]
BOXES = {
    "outputs": [
        {
            "name": "boxes",
            "datatype": "FP32",
            "shape": [2, 4],
            "data": [0, 0, 4, 4] * 2,
        },
        {"name": "scores", "datatype": "FP32", "shape": [2], "data": [0.9, 0.8]},
        {"name": "labels", "datatype": "INT64", "shape": [2], "data": [1, 3]},
    ]
}
NEW = {
    "model_id": "coco",
    "project_id": "harbour",
    "task_type": "Object Detection",
    "class_labels": LABELS,
}


def labels(answer, task_type="Object Detection", **settings):
    found = deconstruct(
        answer, task_type=task_type, class_labels=LABELS, **settings
    ).detections
    return [each.label for each in found]


def test_numbers_of_boxes_count_from_the_first():
    assert labels(BOXES, first_class_number=1) == ["person", "car"]
    assert labels(BOXES) == ["bicycle", "3"]


def test_a_list_of_scores_is_in_the_order_of_the_labels():
    for first in (0, 1):
        answer = {"probabilities": [[0.1, 0.7, 0.2]]}
        found = labels(answer, "Image Classification", first_class_number=first)
        assert found == LABELS


def test_a_score_more_is_the_background():
    answer = {"probabilities": [[0.05, 0.1, 0.65, 0.2]]}
    found = labels(answer, "Image Classification", first_class_number=1)
    assert found == ["0", *LABELS]


@pytest.mark.parametrize(("first", "planes"), [(0, 3), (1, 3), (1, 4)])
def test_planes_of_scores_are_in_the_order_of_the_labels(first, planes):
    is_car = [[[0.0] * 2] * 2] * (planes - 1) + [[[1.0] * 2] * 2]
    found = labels([is_car], "Image Segmentation", first_class_number=first)
    assert found == ["car"]


def test_the_api_keeps_it_and_reads_by_it(api, project):
    new = NEW | {"project_id": project.project_id, "first_class_number": 1}
    assert api.post(MODELS, new).status_code == 201
    assert api.post(MODELS, new).status_code == 200
    assert api.post(MODELS, new | {"first_class_number": 0}).status_code == 409
    assert api.get(f"{MODELS}/coco").json()["first_class_number"] == 1


def test_it_is_0_where_nobody_says(api, project):
    new = NEW | {"project_id": project.project_id}
    assert api.post(MODELS, new).json()["first_class_number"] == 0


@pytest.mark.parametrize("value", [2, -1, "1", True, None, 0.5])
def test_anything_but_0_and_1_is_a_400(api, model, value):
    url = f"{MODELS}/{model.model_id}/inference-server-settings"
    for response in (
        api.patch(url, {"first_class_number": value}),
        api.post(MODELS, NEW | {"first_class_number": value}),
    ):
        assert response.status_code == 400
        assert response.json()["errors"][0]["pointer"] == "/first_class_number"


def test_a_change_counts_for_what_is_read_and_leaves_stored_labels(
    api, model, make_inference
):
    RegisteredModel.objects.update(class_labels=LABELS)
    make_inference(
        inference_id="a",
        data=json.dumps(BOXES),
        detections=[("bicycle", 0.9), ("3", 0.8)],
    )
    url = f"{MODELS}/{model.model_id}"

    changed = api.patch(f"{url}/inference-server-settings", {"first_class_number": 1})

    assert changed.json()["first_class_number"] == 1
    found = api.get(f"{url}/inferences/a").json()["detections"]
    assert [each["label"] for each in found] == ["person", "car"]
    assert api.get(f"{url}/inferences", {"label": "bicycle"}).json()["results"]
    assert not api.get(f"{url}/inferences", {"label": "car"}).json()["results"]
