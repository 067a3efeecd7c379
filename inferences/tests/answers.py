"""Answers of V2 servers, and what is read of them."""

from __future__ import annotations

from inferences.predictions.parse import deconstruct
from inferences.predictions.parsers import (
    Deconstructed,
    Detection,
)

LABELS = ["ship", "tug", "buoy"]
DETECT = "Object Detection"
CLASSIFY = "Image Classification"
SEGMENT = "Image Segmentation"


def output(name, data, shape=None, datatype="FP32") -> dict:
    shape = [len(data)] if shape is None else shape
    return {"name": name, "datatype": datatype, "shape": shape, "data": data}


def read(outputs, task_type=DETECT, class_labels=LABELS, **settings) -> Deconstructed:
    return deconstruct(
        outputs, task_type=task_type, class_labels=class_labels, **settings
    )


def found(*arguments, **settings) -> list[Detection]:
    answer = read(*arguments, **settings)
    assert answer.understood
    return answer.detections
