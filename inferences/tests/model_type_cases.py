"""For each model type: an answer, a query that finds it, what its page shows, its columns."""

from __future__ import annotations

import json

from inferences.models import TaskType
from inferences.tests.builders import body

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
        ["Text", "turn-assistant", "Hello there", "Ended by"],
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


def given(inference_id: str, parts: dict, **fields) -> dict:
    made = body(inference_id, **fields)
    metadata = made["data"]["metadata"]
    made["data"] = {**parts, "metadata": metadata}
    return made
