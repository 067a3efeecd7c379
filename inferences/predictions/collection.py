"""The collection of the API: lists of items under the names of their kinds."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain
from typing import Any

from inferences.predictions.model_types import BY_KIND, PARTS, type_of_kind
from inferences.predictions.parsers import embeddings, items, labels
from inferences.predictions.parsers.context import Context
from inferences.predictions.parsers.values import Deconstructed, Kind, cut
from protocols.json_text import parse

# Kinds whose name alone tells a collection from a model's own answer.
TELLING = (
    Kind.OBJECT_DETECTION,
    Kind.ORIENTED_OBJECT_DETECTION,
    Kind.IMAGE_CLASSIFICATION,
    Kind.IMAGE_SEGMENTATION,
)
NAMES = frozenset((*PARTS, "metadata"))
OTHERS = tuple(kind for kind in BY_KIND if kind is not Kind.EMBEDDING)


def read(value: Any, context: Context) -> Deconstructed | None:
    """Return all parts of a collection together, or None for another form. Boxes are in pixels."""
    if not isinstance(value, dict):
        return None
    parts = [
        _part(kind, value[kind], context)
        for kind in OTHERS
        if value.get(kind) is not None and _is_part(kind, value)
    ]
    if value.get(Kind.EMBEDDING) is not None:
        inner = {Kind.EMBEDDING.value: parse(value[Kind.EMBEDDING])}
        parts.append(embeddings.read(inner, context))
    found = [part for part in parts if part is not None]
    if not found:
        return None
    if len(parts) == 1 and (alone := found[0]).understood:
        return alone
    understood = [part for part in found if part.understood]
    vectors = [part.embedding for part in found if part.embedding]
    everything = [one for part in found for one in part.detections]
    detections, warnings = cut(everything, context.max_detections)
    return Deconstructed(
        kind=understood[0].kind if understood else Kind.NOT_UNDERSTOOD,
        detections=list(detections),
        embedding=vectors[0] if vectors else None,
        understood=bool(understood),
        warnings=[*chain.from_iterable(part.warnings for part in found), *warnings],
        content=next((part.content for part in understood if part.content), None),
    )


def _is_part(kind: Kind, value: dict[Any, Any]) -> bool:
    """Return whether this name is a part of a collection.

    A model's own answer may have members with these names, too. So a name that other forms
    use counts only where every name of the object belongs to the collection.
    """
    return kind in TELLING or all(name in NAMES for name in value)


def _part(kind: Kind, given: Any, context: Context) -> Deconstructed | None:
    """Return one part, parsed as an answer of a model with its type."""
    type_ = type_of_kind(kind)
    value = parse(given)
    if type_.reader:
        return type_.reader(value, replace(context, kind=kind))
    if context.kind is not kind or context.normalised:
        context = replace(context, kind=kind, normalised=False)
    found = items.read(value, context)
    if found is None and kind.is_classes:
        found = labels.read(value, context)
    if found is None or found.kind is kind:
        return found
    return replace(found, kind=kind)
