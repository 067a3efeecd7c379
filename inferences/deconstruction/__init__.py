"""Answers, taken apart: labels, scores, shapes and embeddings, of the forms we meet.

``deconstruct`` never raises, whatever a model said. What no form fits stays as it was
stored, and is found by everything but label, score and embedding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from inferences.deconstruction import (
    arrays,
    collection,
    embeddings,
    entities,
    items,
    labels,
    probabilities,
    quantities,
    rankings,
    segments,
    texts,
)
from inferences.deconstruction.context import Context
from inferences.deconstruction.outputs import candidates
from inferences.deconstruction.values import (
    Box,
    Deconstructed,
    Detection,
    Kind,
    Mask,
    OrientedBox,
    Polygons,
)

__all__ = [
    "Box",
    "Deconstructed",
    "Detection",
    "Kind",
    "Mask",
    "OrientedBox",
    "Polygons",
    "deconstruct",
]

# Earlier forms say more about themselves; bare numbers come last.
READERS = (
    collection.read,
    entities.read,
    rankings.read,
    quantities.read,
    texts.read,
    arrays.read,
    items.read,
    segments.read,
    embeddings.read,
    probabilities.read,
    labels.read,
)


def deconstruct(
    outputs: Any,
    *,
    task_type: str = "",
    class_labels: Sequence[str] = (),
    box_format: str = "yxyx",
    embedding_size: int = 0,
    max_detections: int = 10_000,
    max_embedding: int = 4_000,
) -> Deconstructed:
    """What a model's answer says, or a value that is not ``understood``.

    ``outputs`` is a list of V2 outputs, a collection of the API, or any other JSON
    value; text that holds JSON is read. ``box_format`` is yxyx, xyxy or xywh, which may
    end in ``_normalised``: the order of a box's four numbers, and whether they are
    parts of the image's size rather than pixels.
    """
    context = Context.of(
        task_type,
        class_labels,
        box_format,
        embedding_size,
        max_detections,
        max_embedding,
    )
    warnings: list[str] = []
    for value in candidates(outputs):
        for read in READERS:
            found = read(value, context)
            if found is None:
                continue
            warnings += found.warnings
            if found.understood:
                return replace(found, warnings=_once(warnings))
    return Deconstructed(warnings=_once(warnings))


def _once(warnings: list[str]) -> list[str]:
    return list(dict.fromkeys(warnings))
