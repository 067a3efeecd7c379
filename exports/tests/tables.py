"""Answers of every model type, and the rows of a table."""

from __future__ import annotations

import io

import pyarrow.parquet

from inferences.models import TaskType

BOX = {
    "label": "ship",
    "score": 0.9,
    "xmin": 1.0,
    "ymin": 2.0,
    "xmax": 3.5,
    "ymax": 4.0,
}

TUG = {"label": "tug", "score": 0.95, "xmin": 5, "ymin": 6, "xmax": 7, "ymax": 8}

CONTOURS = [[{"x": 1, "y": 2}, {"x": 3, "y": 4}, {"x": 5, "y": 1}]]

FOLDER = "yolo-harbour/no-version/no-environment"

# Of every model type: a part of a record's collection, and what a row must say of it.
ANSWERS = {
    TaskType.OBJECT_DETECTION: ("object_detection", [BOX, TUG], "tug", 0.95),
    TaskType.ORIENTED_OBJECT_DETECTION: (
        "oriented_object_detection",
        [
            {
                "label": "ship",
                "score": 0.5,
                "cx": 0.5,
                "cy": 0.5,
                "w": 0.1,
                "h": 0.2,
                "r": 1.5,
            }
        ],
        "ship",
        0.5,
    ),
    TaskType.IMAGE_SEGMENTATION: (
        "image_segmentation",
        [{"label": "sea", "score": 0.75, "contours": CONTOURS}],
        "sea",
        0.75,
    ),
    TaskType.IMAGE_CLASSIFICATION: (
        "image_classification",
        [{"label": "cat", "score": 0.25}, {"label": "dog", "score": 0.75}],
        "dog",
        0.75,
    ),
    TaskType.TABULAR_CLASSIFICATION: (
        "classification",
        [{"label": "yes", "score": 0.75}, {"label": "no", "score": 0.25}],
        "yes",
        0.75,
    ),
    TaskType.TEXT_CLASSIFICATION: (
        "text_classification",
        [{"label": "spam", "score": 1.0}],
        "spam",
        1.0,
    ),
    TaskType.NAMED_ENTITIES: (
        "named_entities",
        [{"label": "PORT", "start": 3, "end": 9, "score": 0.5}],
        "PORT",
        0.5,
    ),
    TaskType.TABULAR_REGRESSION: (
        "regression",
        {"value": 3.5, "lower": 3.0, "upper": 4.0},
        None,
        3.5,
    ),
    TaskType.RANKING: (
        "ranking",
        [{"item": "a", "score": 0.25}, {"item": "b", "score": 0.5}],
        None,
        None,
    ),
    TaskType.MULTI_OUTPUT: ("multi_output", {"speed": 3.5, "kind": "tug"}, None, None),
    TaskType.TIME_SERIES: (
        "time_series",
        {"values": [1.0, 2.0], "times": ["2026-01-01", "2026-01-02"]},
        None,
        None,
    ),
    TaskType.TEXT_GENERATION: ("text_generation", {"text": "=1+1 is two"}, None, None),
    TaskType.IMAGE_EMBEDDING: ("embedding", [0.5, -1.5, 2.0], None, None),
    TaskType.TEXT_EMBEDDING: ("embedding", [0.5, -1.5, 2.0], None, None),
}

# How many rows the answer above becomes, exploded.
ITEMS = {
    TaskType.OBJECT_DETECTION: 2,
    TaskType.IMAGE_CLASSIFICATION: 2,
    TaskType.TABULAR_CLASSIFICATION: 2,
    TaskType.RANKING: 2,
    TaskType.MULTI_OUTPUT: 2,
    TaskType.TIME_SERIES: 2,
}


def table_of(archive, folder: str = "m/no-version/no-environment") -> list[dict]:
    file = io.BytesIO(archive.read(f"{folder}/data.parquet"))
    return pyarrow.parquet.read_table(file).to_pylist()
