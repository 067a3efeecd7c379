"""The collection of the API: a list of items under the name of its kind."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain
from typing import Any

from inferences.deconstruction import embeddings, items, labels
from inferences.deconstruction.context import Context, parsed
from inferences.deconstruction.values import Deconstructed, Kind, cut

KINDS = (
    Kind.OBJECT_DETECTION,
    Kind.ORIENTED_OBJECT_DETECTION,
    Kind.IMAGE_CLASSIFICATION,
    Kind.IMAGE_SEGMENTATION,
)
# As the items would be read of a model with that task.
TASKS = {kind: kind.value.replace("_", " ").title() for kind in KINDS}


def read(value: Any, context: Context) -> Deconstructed | None:
    """All the kinds a collection holds, together. Its boxes are in pixels."""
    if not isinstance(value, dict):
        return None
    parts = [
        _part(kind, value, context) for kind in KINDS if value.get(kind) is not None
    ]
    if value.get(Kind.EMBEDDING) is not None:
        inner = {Kind.EMBEDDING.value: parsed(value[Kind.EMBEDDING])}
        parts.append(embeddings.read(inner, context))
    parts = [part for part in parts if part is not None]
    if not parts:
        return None
    understood = [part for part in parts if part.understood]
    vectors = [part.embedding for part in parts if part.embedding]
    detections = [found for part in parts for found in part.detections]
    detections, warnings = cut(detections, context.max_detections)
    return Deconstructed(
        kind=understood[0].kind if understood else Kind.NOT_UNDERSTOOD,
        detections=detections,
        embedding=vectors[0] if vectors else None,
        understood=bool(understood),
        warnings=[*chain.from_iterable(part.warnings for part in parts), *warnings],
    )


def _part(kind: Kind, value: dict[Any, Any], context: Context) -> Deconstructed | None:
    inner = replace(context, task_type=TASKS[kind], normalised=False)
    given = parsed(value[kind])
    found = items.read(given, inner)
    if found is None and kind is Kind.IMAGE_CLASSIFICATION:
        found = labels.read(given, inner)
    return replace(found, kind=kind) if found else None
