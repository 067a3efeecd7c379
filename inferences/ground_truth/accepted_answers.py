"""Turn an answer into the ground truth that says: the answer is right."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from inferences.ground_truth.agreement import best_label, meant
from inferences.ground_truth.truths import Truth, allowed
from inferences.predictions.mask_outlines import trace
from inferences.predictions.parsers import Box, Mask, OrientedBox, Polygons
from inferences.predictions.parsers.values import (
    Deconstructed,
    Detection,
    Entities,
    Outputs,
    Point,
    Quantity,
    Series,
    Text,
)
from inferences.previews.pictures import Measure
from istore.errors import Invalid


def truth_of_answer(
    task_type: str,
    answer: Deconstructed,
    least_score: float = 0.0,
    picture: Measure | None = None,
) -> Truth:
    """Return the ground truth that an answer would be, in the unit of the answer.

    Of shapes those are taken that have ``least_score`` or no score. Masks become contours in
    pixels of the ``picture``. Raises ``Invalid`` if the answer was not understood, or says
    nothing in a form that the task has.
    """
    if not answer.understood:
        raise Invalid("The answer was not understood, so it cannot be accepted.")
    found = [
        one
        for one in answer.detections
        if one.score is None or one.score >= least_score
    ]
    for form in allowed(task_type):
        truth = _in_form(form, answer, found, picture)
        if truth is not None:
            return {form: truth}
    raise Invalid("The answer has no form that ground truth of this model can have.")


def _in_form(
    form: str,
    answer: Deconstructed,
    found: Sequence[Detection],
    picture: Measure | None,
) -> Any:
    """Return the value of one form of ground truth; None if the answer has no such value."""
    content = answer.content
    match form, content:
        case "boxes", _ if not answer.kind.is_classes and answer.kind.has_labels:
            return _boxes(found)
        case "polygons", _ if not answer.kind.is_classes and answer.kind.has_labels:
            return _polygons(found, picture)
        case "labels", _ if answer.pairs:
            return _labels(answer)
        case "value", Quantity(value=value):
            return value
        case "values", Outputs(values=values):
            return dict(values)
        case "series", Series(values=values):
            return list(values)
        case "text", Text(messages=messages) if messages:
            return messages[0].text
        case "entities", Entities(entities=entities):
            return [
                {"label": each.label, "start": each.start, "end": each.end}
                for each in entities
            ]
    return None


def _labels(answer: Deconstructed) -> list[str] | None:
    pairs = answer.pairs or []
    if answer.is_one_class or answer.kind.is_classes:
        best = best_label(pairs)
        return None if best is None else [best]
    return sorted(meant(pairs)) or None


def _boxes(found: Sequence[Detection]) -> list[dict[str, Any]] | None:
    made: list[dict[str, Any]] = []
    for one in found:
        match one.shape:
            case Box(xmin, ymin, xmax, ymax):
                box = {"xmin": xmin, "ymin": ymin, "xmax": xmax, "ymax": ymax}
            case OrientedBox(cx, cy, w, h, r):
                box = {"cx": cx, "cy": cy, "w": w, "h": h, "r": r}
            case _:
                return None
        made.append({"label": one.label, **box})
    return made


def _polygons(
    found: Sequence[Detection], picture: Measure | None
) -> list[dict[str, Any]] | None:
    made = []
    for one in found:
        if (contours := contours_to_correct(one.shape, picture)) is None:
            return None
        if contours:
            made.append({"label": one.label, "contours": contours})
    return made


def contours_to_correct(
    shape: Any, picture: Measure | None
) -> list[list[list[float]]] | None:
    """Return contours of three points or more; None for a shape that is no area of contours."""
    drawn: Sequence[Sequence[Point]]
    match shape:
        case Polygons(contours):
            drawn = contours
        case Mask():
            drawn = trace(shape, picture or Measure(shape.width, shape.height))
        case _:
            return None
    return [[[x, y] for x, y in each] for each in drawn if len(each) >= 3]
