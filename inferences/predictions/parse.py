"""Parse answers of models into labels, scores, shapes, embeddings and other content.

``deconstruct`` never raises, whatever a model answered. An answer that no parser
understands stays stored as it came, and can be found by everything except label, score and
embedding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Protocol

from django.conf import settings

from inferences.predictions import collection
from inferences.predictions.model_types import type_of
from inferences.predictions.model_types.base import Reader
from inferences.predictions.parsers import (
    arrays,
    detection_rows,
    embeddings,
    items,
    labels,
    pixel_masks,
    probabilities,
    roboflow,
    scored_classes,
    segments,
    texts,
)
from inferences.predictions.parsers.context import Context
from inferences.predictions.parsers.outputs import candidates
from inferences.predictions.parsers.run_lengths import complaint
from inferences.predictions.parsers.values import Deconstructed, Kind, Mask

# These are tried for every model, after the collection of the API and the reader of the
# model's own type. The order matters: the first parser that understands the answer wins.
# Forms that are easy to recognise come first, bare numbers last.
READERS = (
    texts.read_completion,
    arrays.read,
    roboflow.read,
    items.read,
    segments.read,
    embeddings.read,
    detection_rows.read,
    pixel_masks.read,
    scored_classes.read,
    probabilities.read,
    labels.read,
)

# ``inferences.models.metadata_values.in_slot`` shortens longer labels: keep both the same.
WHOLE_BYTES = 512
DETECTIONS_MAX: int = settings.ISTORE_DETECTIONS_MAX
EMBEDDING_MAX: int = settings.ISTORE_EMBEDDING_MAX


class AnswerSettings(Protocol):
    """What decides how an answer is parsed; a registered model has it, for example."""

    @property
    def task_type(self) -> str: ...
    @property
    def class_labels(self) -> list[str]: ...
    @property
    def first_class_number(self) -> int: ...
    @property
    def box_format(self) -> str: ...
    @property
    def embedding_size(self) -> int: ...


def deconstructed(model: AnswerSettings, answer: Any) -> Deconstructed:
    """Return the parsed answer of the model: ``deconstruct`` within this store's limits.

    Empty text means that there is no answer, and gives an empty value.
    """
    if answer == "":
        return Deconstructed()
    return deconstruct(
        answer,
        task_type=model.task_type,
        class_labels=model.class_labels,
        box_format=model.box_format,
        embedding_size=model.embedding_size,
        max_detections=DETECTIONS_MAX,
        max_embedding=EMBEDDING_MAX,
        first_class_number=model.first_class_number,
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
    first_class_number: int = 0,
) -> Deconstructed:
    """Return what a model's answer says, or a value that is not ``understood``.

    ``outputs`` is a list of V2 outputs, a collection of the API, or any other JSON value;
    text that holds JSON is parsed. ``box_format`` is yxyx, xyxy or xywh, which may end in
    ``_normalised``. It is the order of a box's four numbers, and says whether they are
    shares of the image's size instead of pixels. ``first_class_number`` is the number of
    the first of ``class_labels``: 1 where the model keeps 0 for the background.
    """
    type_ = type_of(task_type)
    context = Context.of(
        type_.kind if task_type else None,
        class_labels,
        box_format,
        embedding_size,
        max_detections,
        max_embedding,
        first_class_number,
    )
    own = [type_.reader] if type_.reader else []
    readers: tuple[Reader, ...] = (collection.read, *own, *READERS)
    warnings: list[str] = []
    for value in candidates(outputs):
        for read in readers:
            found = read(value, context)
            if found is None:
                continue
            warnings += found.warnings
            if found.understood:
                warnings += _unnamed_classes(found, context)
                warnings += _long_labels(found)
                warnings += _malformed_masks(found)
                if not warnings and found.is_one_class == type_.is_one_class:
                    return found
                return replace(
                    found,
                    warnings=_once(warnings),
                    is_one_class=type_.is_one_class,
                )
    return Deconstructed(warnings=_once(warnings))


def _once(warnings: list[str]) -> list[str]:
    return list(dict.fromkeys(warnings))


def _long_labels(found: Deconstructed) -> list[str]:
    """Return a warning where rows hold labels by their beginning and a hash."""
    # A character has four bytes at most, so most labels need not be encoded.
    most = WHOLE_BYTES // 4
    labels = {one.label for one in found.detections if len(one.label) > most}
    long = [label for label in labels if len(label.encode()) > WHOLE_BYTES]
    if not long:
        return []
    return [
        f"Labels of more than {WHOLE_BYTES} bytes ({len(long)}) are shown and counted by "
        "their beginning and a hash; the whole text finds them."
    ]


def _malformed_masks(found: Deconstructed) -> list[str]:
    """A warning where run lengths do not say of each pixel whether it is of the mask."""
    masks = [one.shape for one in found.detections if isinstance(one.shape, Mask)]
    wrong = [why for mask in masks if (why := complaint(mask))]
    if not wrong:
        return []
    return [f"{len(wrong)} of {len(masks)} masks are malformed. The first: {wrong[0]}"]


def _unnamed_classes(found: Deconstructed, context: Context) -> list[str]:
    """Return a warning where the model answers class numbers that its class labels do not name.

    Such lists often start from another number than the model does.
    """
    if not context.class_labels or not found.kind.has_labels:
        return []
    labels = {one.label for one in found.detections} - set(context.class_labels)
    unnamed = sorted(label for label in labels if label.isdecimal())
    if not unnamed or found.kind is Kind.RANKING:
        return []
    first, count = context.first_class_number, len(context.class_labels)
    return [
        f"Class {unnamed[0][:20]} is none of the model's {count} class labels, which are "
        f"numbered from {first}."
    ]
