"""Find which detections of an answer the query asked for, so that pages can mark them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from django.core.exceptions import ValidationError

from inferences.search.filters import And, DetectionFilter, Filter, InferenceFilter, Or
from inferences.web.view_models.questions import Question

# A function of label and score: whether the query asked for such a detection.
DetectionTest = Callable[[str, float | None], bool]


def detection_test(question: Question) -> DetectionTest | None:
    """Return the test; None if the query has no labels or scores, or is not valid.

    Conditions under a NOT are ignored. Passing one of several tests is enough, because each
    may hold for a different detection.
    """
    try:
        tests = list(_tests(question.filters))
    except ValidationError:
        return None
    if not tests:
        return None
    return lambda label, score: any(test.holds(label, score) for test in tests)


def _tests(filters: Filter) -> Iterator[DetectionFilter]:
    if isinstance(filters, And | Or):
        for part in filters.parts:
            yield from _tests(part)
    elif isinstance(filters, InferenceFilter):
        if filters.detections:
            yield from _tests(filters.detections)
    elif isinstance(filters, DetectionFilter) and filters != DetectionFilter():
        yield filters
