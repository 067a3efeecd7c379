"""What a person draws over a picture: the shapes that the editor begins with, and their unit.

Shapes are kept in the pixels of the file, or in shares of its size, as the model answers. The
page shows the picture after EXIF's rotation. So shapes are turned to be drawn, and ``turn``, which
the form sends back, says how they are turned to be stored.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from inferences.ground_truth.accepted_answers import contours_to_correct
from inferences.ground_truth.truths import allowed
from inferences.models import RegisteredModel
from inferences.predictions.geometry import stored_box, upright, upright_box
from inferences.predictions.geometry import to_stored_point as stored_point
from inferences.predictions.parsers import Box, Mask, Polygons
from inferences.previews.pictures import Measure
from inferences.web.view_models.answers import Answer
from inferences.web.view_models.colours import colours_of

DRAWN_FORMS = ("boxes", "polygons")
MASKS_MAX = 100  # of one answer; to trace more takes seconds
CLASSES_MAX = 500
SIDES = ("xmin", "ymin", "xmax", "ymax")

Shapes = list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Drawing:
    """The editor of one inference; ``shapes`` are those of the ground truth."""

    forms: tuple[str, ...]  # that may be drawn, the one to begin with first
    shapes: Shapes
    suggested: Shapes  # of the answer
    is_shares: bool
    turn: str
    classes: list[dict[str, Any]]

    @property
    def shapes_json(self) -> str:
        return json.dumps(self.shapes)

    @property
    def suggested_json(self) -> str:
        return json.dumps(self.suggested)

    @property
    def classes_json(self) -> str:
        return json.dumps(self.classes, ensure_ascii=False)


def drawing_of(
    model: RegisteredModel,
    truth: dict[str, Any],
    answer: Answer,
    picture: Measure,
    *,
    is_upright: bool,
) -> Drawing | None:
    """Return the editor; None where ground truth has a form that is not drawn.

    ``is_upright`` says that shapes are in pixels of the upright picture already.
    """
    forms = _forms(model, truth, answer)
    if not forms:
        return None
    shapes: Shapes = truth.get(forms[0], [])
    if any("r" in each for each in shapes):
        return None
    suggested = _suggested(forms[0], answer, picture)
    is_shares = (
        model.box_format.endswith("_normalised")
        if forms[0] == "boxes"
        else _are_shares(shapes or suggested, model)
    )
    turn = None
    if picture.orientation != 1 and not is_upright:
        turn = Measure(1, 1, picture.orientation) if is_shares else picture
        shapes = [_upright(each, turn) for each in shapes]
        if forms[0] == "polygons":
            suggested = [_upright(each, turn) for each in suggested]
    if forms[0] == "boxes":
        suggested = _suggested_boxes(answer, picture, is_shares, turn)
    return Drawing(
        forms,
        shapes,
        suggested,
        is_shares,
        f"{turn.orientation} {turn.width} {turn.height}" if turn else "",
        classes_of(model),
    )


def _forms(
    model: RegisteredModel, truth: dict[str, Any], answer: Answer
) -> tuple[str, ...]:
    """Return the forms that may be drawn: that of the ground truth, else all of the task."""
    possible = [form for form in allowed(model.task_type) if form in DRAWN_FORMS]
    if given := [form for form in possible if form in truth]:
        return tuple(given)
    if answer.is_classes:
        return ()
    if _has_contours(answer):
        possible.sort(key=lambda form: form != "polygons")
    return tuple(possible)


def _has_contours(answer: Answer) -> bool:
    return any(isinstance(each.shape, Polygons | Mask) for each in answer.found)


def _are_shares(shapes: Shapes, model: RegisteredModel) -> bool:
    points = [value for each in shapes for value in _values(each)]
    return max(points) <= 1 if points else model.box_format.endswith("_normalised")


def _values(polygon: dict[str, Any]) -> Iterable[float]:
    return (v for contour in polygon["contours"] for point in contour for v in point)


def _suggested(form: str, answer: Answer, picture: Measure) -> Shapes:
    """Return the polygons of an answer in its own unit; none if there are too many masks."""
    if form != "polygons":
        return []
    if sum(isinstance(each.shape, Mask) for each in answer.found) > MASKS_MAX:
        return []
    made = []
    for each in answer.found:
        if contours := contours_to_correct(each.shape, picture):
            made.append({"label": each.label, "contours": contours})
    return made


def _suggested_boxes(
    answer: Answer, picture: Measure, is_shares: bool, turn: Measure | None
) -> Shapes:
    """Return the model's boxes in the unit of ground truth, over the upright picture.

    A box in that unit is as the model wrote it; others become the rectangle around their outline.
    """
    width, height = (1, 1) if is_shares else picture.upright
    made = []
    for each in answer.found:
        match each.shape:
            case Box(xmin, ymin, xmax, ymax, normalised) if normalised == is_shares:
                box = dict(zip(SIDES, (xmin, ymin, xmax, ymax), strict=True))
                box = upright_box(box, turn) if turn else box
            case _ if each.outline:
                box = each.outline.box(width, height)
            case _:
                continue
        made.append({"label": each.label, **box})
    return made


def _upright(shape: dict[str, Any], picture: Measure) -> dict[str, Any]:
    if "contours" not in shape:
        return upright_box(shape, picture)
    turned = [[upright(x, y, picture) for x, y in each] for each in shape["contours"]]
    return {**shape, "contours": turned}


def turned_back(shapes: Any, turn: str) -> Any:
    """Return shapes drawn over a picture that EXIF rotates, in the pixels of the file.

    Items that are no shapes are passed on unchanged, so that validation names their place.
    Raises ``ValueError`` for a turn that is none.
    """
    if not turn:
        return shapes
    try:
        orientation, width, height = map(int, turn.split())
    except ValueError:
        raise ValueError("Not saved: this is no turn of a picture.") from None
    drawn_over = Measure(width, height, orientation)
    if not isinstance(shapes, list):
        return shapes
    if all(map(_is_box, shapes)):
        return [stored_box(box, drawn_over) for box in shapes]
    if all(map(_is_polygon, shapes)):
        return [_stored_polygon(each, drawn_over) for each in shapes]
    return shapes


def _stored_polygon(polygon: dict[str, Any], picture: Measure) -> dict[str, Any]:
    contours = [
        [[round(v, 5) for v in stored_point(x, y, picture)] for x, y in each]
        for each in polygon["contours"]
    ]
    return {**polygon, "contours": contours}


def _is_number(value: Any) -> bool:
    return type(value) in (int, float)


def _is_box(box: Any) -> bool:
    return isinstance(box, dict) and all(_is_number(box.get(side)) for side in SIDES)


def _is_polygon(polygon: Any) -> bool:
    contours = polygon.get("contours") if isinstance(polygon, dict) else None
    return isinstance(contours, list) and all(
        isinstance(each, list) and all(map(_is_point, each)) for each in contours
    )


def _is_point(point: Any) -> bool:
    return isinstance(point, list) and len(point) == 2 and all(map(_is_number, point))


def classes_of(
    model: RegisteredModel, others: Sequence[str] = ()
) -> list[dict[str, Any]]:
    """Return the classes of a model with their colours: as declared, then as they appeared."""
    colours = colours_of(model)
    names = dict.fromkeys([*model.class_labels, *colours.labels, *others])
    return [{"name": n, "hue": colours(n)} for n in list(names)[:CLASSES_MAX]]
