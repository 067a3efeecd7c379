"""Long labels are kept whole, told apart, and found by their whole text everywhere."""

from __future__ import annotations

import pytest

from inferences.ground_truth.truths import read_truth
from inferences.models.metadata_values import in_slot
from inferences.predictions.parse import deconstruct

MODEL = "/api/v1/models/yolo-harbour"
SHARED = "a" * 255
LABELS = [SHARED, SHARED + "b", SHARED + "c", "ü" * 200, "x" * 2000 + "y", "x" * 2000]


@pytest.fixture
def stored(api, model):
    standard = {"data_hash": "ab" * 32, "data_size": 1}
    standard |= {"task_type": "Object Detection", "inference_action": "detect"}
    for number, label in enumerate(LABELS):
        item = {"label": label, "score": 0.5}
        box = {"xmin": 0, "ymin": 0, "xmax": 9, "ymax": 9}
        data = {
            "object_detection": [item | box],
            "metadata": {"standard_metadata": standard, "extended_metadata": []},
        }
        body = {"inference_id": str(number), "data": data}
        answer = api.post(f"{MODEL}/inferences", body)
        assert answer.status_code == 201, answer.content


def test_a_long_label_is_found_by_its_whole_text_alone(api, stored):
    for number, label in enumerate(LABELS):
        by_filter = {"deconstructed_inference_filter": {"labels": [label]}}
        for body in ({"filters": by_filter}, {"query": f'label:"{label}"'}):
            found = api.post(f"{MODEL}/inferences/filter", body).json()["results"]
            assert [each["inference_id"] for each in found] == [str(number)]
        listed = api.get(f"{MODEL}/inferences", {"label": label}).json()["results"]
        assert [each["inference_id"] for each in listed] == [str(number)]
        # What pages and counts show of it finds it, too.
        shown = {"deconstructed_inference_filter": {"labels": [in_slot(label)]}}
        told = api.post(f"{MODEL}/inferences/count", {"filters": shown})
        assert told.json() == {"count": 1}


def test_an_answer_says_which_labels_are_shown_by_a_hash():
    for label in LABELS:
        found = deconstruct(
            [{"label": label, "score": 0.5}], task_type="Classification"
        )
        assert [one.label for one in found.detections] == [label]
        assert bool(found.warnings) == (len(label.encode()) > 512)


def test_ground_truth_takes_labels_as_long_and_tells_them_apart(api, stored):
    for number, label in enumerate(LABELS):
        assert read_truth({"labels": [label]}, "Image Classification")
        address = f"{MODEL}/inferences/{number}/ground-truth"
        for truth, agrees in ((label, True), (f"{label}!", False)):
            answer = api.put(address, {"labels": [truth]})
            assert answer.status_code in (200, 201), answer.content
            assert answer.json()["agrees"] is agrees
