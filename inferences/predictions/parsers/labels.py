"""The class alone: ``["label"]``, or its number."""

from __future__ import annotations

from typing import Any

from inferences.predictions.parsers.context import LABEL_CHARS, Context
from inferences.predictions.parsers.values import Deconstructed, Detection, Kind
from protocols.json_text import without_batch


def read(value: Any, context: Context) -> Deconstructed | None:
    """Return the class, or None for another form.

    The model must be a classifier, or the text one of its class labels: other text may be
    anything.
    """
    names = without_batch(value)
    if not isinstance(names, list):
        names = [names]
    if not names or not all(_is_name(name, context) for name in names):
        return None
    return Deconstructed.of(
        Kind.IMAGE_CLASSIFICATION,
        names,
        # ``label`` is None for a number too large to be a class.
        lambda name: Detection(label) if (label := context.label(name)) else None,
        context.max_detections,
    )


def _is_name(value: Any, context: Context) -> bool:
    if isinstance(value, str):
        known = context.may_classify or value in context.class_labels
        return known and 0 < len(value) <= LABEL_CHARS
    # scikit-learn and similar classifiers answer a class as 1.0, or as true.
    is_number = isinstance(value, int) or (type(value) is float and value.is_integer())
    return is_number and context.classifies
