"""The annotations of an entry: its ground truth if it has one, else the answer."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from datasets.models import DatasetEntry
from inferences.predictions.parse import deconstructed
from inferences.predictions.parsers import Deconstructed

# Forms of ground truth, with the members of an answer collection that mean the same.
PARTS = {
    "labels": "image_classification",
    "polygons": "image_segmentation",
    "entities": "named_entities",
}


def text_of(entry: DatasetEntry) -> str:
    """Return the annotations as the text of an answer."""
    collection = collection_of(entry.truth) if entry.truth else None
    return entry.answer if collection is None else json.dumps(collection)


def collection_of(truth: dict[str, Any]) -> dict[str, Any] | None:
    """Return ground truth as members of an answer collection; None if it has no labels."""
    if "boxes" in truth:
        boxes = truth["boxes"]
        oriented = bool(boxes) and "cx" in boxes[0]
        name = "oriented_object_detection" if oriented else "object_detection"
        return {name: boxes}
    for form, part in PARTS.items():
        if form in truth:
            items = truth[form]
            return {part: [{"label": i} for i in items] if form == "labels" else items}
    return None


def annotations_of(entry: DatasetEntry) -> Deconstructed:
    """Return the annotations, parsed as the model's answers were when the entry was added."""
    return taken_apart(entry, text_of(entry))


def taken_apart(entry: DatasetEntry, text: str) -> Deconstructed:
    """Return the parsed annotations of an entry.

    If ground truth has several classes, all of them count. Of an answer's distribution
    only the best class does.
    """
    found = deconstructed(entry.source, text)
    truth: dict[str, Any] | None = entry.truth
    is_truth = bool(truth and collection_of(truth) is not None)
    return replace(found, is_one_class=False) if is_truth else found
