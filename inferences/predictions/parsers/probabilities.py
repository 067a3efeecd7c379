"""The probability of every class, ``[[p0, p1, …]]``, in the order of the class labels."""

from __future__ import annotations

import math
from typing import Any

from inferences.predictions.parsers.context import NUMBERS, Context, number
from inferences.predictions.parsers.values import Deconstructed, Detection, Kind
from protocols.json_text import without_batch

NAMES = ("predict_proba", "probabilities", "probability", "probs")


def read(value: Any, context: Context) -> Deconstructed | None:
    """Return the classes with their probabilities, or None for another form."""
    named = False
    if isinstance(value, dict):
        found = [value[name] for name in NAMES if name in value]
        if not found:
            return None
        value, named = found[0], True
    scores = without_batch(value)
    if (
        not isinstance(scores, list)
        or not scores
        or not NUMBERS.issuperset(map(type, scores))
    ):
        return None
    if not (named or _are_probabilities(scores, context)):
        return None
    # A single probability of two classes is that of the second; the first has the rest.
    if len(scores) == 1 and len(context.class_labels) == 2 and 0 <= scores[0] <= 1:
        scores = [1 - scores[0], scores[0]]
    # The list is in the order of the class labels, whatever the first class number is. A list
    # that is longer by that number starts with the classes before it (the background).
    first = context.first_class_number
    offset = first if len(scores) == len(context.class_labels) else 0
    places = range(len(scores))
    return Deconstructed.of(
        Kind.IMAGE_CLASSIFICATION,
        places,
        lambda place: _class(place + offset, scores[place], context),
        context.max_detections,
    )


def _are_probabilities(scores: list[float], context: Context) -> bool:
    """Return whether a list of numbers is the probabilities of classes.

    It is with one number for each class label, for a classifier, or if the numbers add up
    to one.
    """
    if len(scores) > 1 and len(scores) == len(context.class_labels):
        return context.may_classify
    if all(isinstance(score, int) for score in scores):  # integers are class numbers
        return False
    if len(scores) == 1 and float(scores[0]).is_integer():  # a class, written as 1.0
        return False
    if context.classifies:
        return True
    return all(0 <= score <= 1 for score in scores) and math.isclose(
        math.fsum(scores), 1, abs_tol=1e-3
    )


def _class(place: int, score: float, context: Context) -> Detection | None:
    label, read_score = context.label(place), number(score)
    if label is None or read_score is None:
        return None
    return Detection(label, read_score)
