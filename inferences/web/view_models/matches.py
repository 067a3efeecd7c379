"""Which detections of an answer a question asked for: pages mark them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from django.core.exceptions import ValidationError

from inferences.search.filters import And, DetectionFilter, Filter, InferenceFilter, Or
from inferences.web.view_models.questions import Question

# Of a label and a score: whether the question asked for such a detection.
DetectionTest = Callable[[str, float | None], bool]


def detection_test(question: Question) -> DetectionTest | None:
    """None where the question says nothing of labels and scores, or cannot be read.

    What stands under a NOT is not looked for. Of several tests one is enough: each may
    be true of a detection of its own.
    """
    try:
        tests = list(_tests(question.filters))
    except ValidationError:
        return None
    if not tests:
        return None
    return lambda label, score: any(each.holds(label, score) for each in tests)


def _tests(filters: Filter) -> Iterator[DetectionFilter]:
    if isinstance(filters, And | Or):
        for part in filters.parts:
            yield from _tests(part)
    elif isinstance(filters, InferenceFilter):
        if filters.detections:
            yield from _tests(filters.detections)
    elif isinstance(filters, DetectionFilter) and filters != DetectionFilter():
        yield filters
