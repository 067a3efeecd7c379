"""Ground truth for pages that show and edit it: labels, a number, a text, boxes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from inferences.ground_truth.truths import allowed
from inferences.ground_truth.upsert import Version, history
from inferences.models import Inference, RegisteredModel
from inferences.models.ground_truth import GroundTruth
from inferences.predictions.geometry import (
    is_upright_already,
    outlines,
    shape_of,
    upright_box,
)
from inferences.predictions.parse import AnswerSettings
from inferences.predictions.parsers.values import Shape
from inferences.previews.pictures import Measure
from inferences.web.view_models.answers import Answer, Found
from inferences.web.view_models.colours import Colours, colours_of

VERSIONS_SHOWN = 50


@dataclass(frozen=True, slots=True)
class Former:
    """An earlier ground truth, which was replaced or deleted."""

    version: Version
    said: str


@dataclass(frozen=True, slots=True)
class TruthView:
    """A ground truth for the page.

    ``drawn`` is drawn over the picture; ``boxes`` are those with which the editor starts.
    """

    truth: GroundTruth | None
    said: str
    forms: tuple[str, ...]
    versions: list[Former]
    drawn: list[Found]
    boxes: str = "[]"
    suggested: str = "[]"
    is_shares: bool = False
    may_draw: bool = False
    # EXIF orientation, width and height by which drawn boxes are rotated back.
    turn: str = ""

    @property
    def labels(self) -> str:
        return ", ".join(self.truth.truth.get("labels", [])) if self.truth else ""

    @property
    def value(self) -> str:
        found = self.truth.truth.get("value") if self.truth else None
        return "" if found is None else f"{found:g}"

    @property
    def text(self) -> str:
        return self.truth.truth.get("text", "") if self.truth else ""

    @property
    def written(self) -> str:
        """The ground truth as JSON, for forms that have no controls of their own."""
        return json.dumps(self.truth.truth, ensure_ascii=False) if self.truth else ""


def truth_view(
    model: RegisteredModel,
    inference: Inference,
    picture: Measure | None,
    answer: Answer,
) -> TruthView:
    """Return the view of the ground truth, also if there is none yet."""
    truth = GroundTruth.objects.beside(model).filter(id=inference.id).first()
    forms = allowed(model.task_type)
    said = said_of(truth.truth) if truth else ""
    former = [each for each in history(model, inference.id) if each.until]
    versions = [Former(v, said_of(v.truth)) for v in former[-VERSIONS_SHOWN:]]
    if picture is None:
        return TruthView(truth, said, forms, versions, [])
    is_shares = model.box_format.endswith("_normalised")
    given = truth.truth if truth else {}
    shapes = _shapes(given, is_shares)
    is_upright = answer.is_upright or is_upright_already(
        [shape for _, shape in shapes], picture
    )
    found = draw_truth(model, colours_of(model), given, picture, answer)
    boxes = given.get("boxes", [])
    plain = all("xmin" in box for box in boxes)
    # Boxes are in the pixels of the file, unless the model applied EXIF's rotation itself.
    # The page shows the rotated picture, so boxes are rotated to draw and back to store.
    turn = ""
    if picture.orientation != 1 and not is_upright and plain:
        unit = Measure(1, 1, picture.orientation) if is_shares else picture
        turn = f"{unit.orientation} {unit.width} {unit.height}"
        boxes = [upright_box(box, unit) for box in boxes]
    return TruthView(
        truth,
        said,
        forms,
        versions,
        found,
        json.dumps(boxes) if plain else "[]",
        json.dumps(_as_boxes(answer, picture, is_shares)),
        is_shares,
        may_draw="boxes" in forms and plain,
        turn=turn,
    )


def draw_truth(
    settings: AnswerSettings,
    colours: Colours,
    truth: dict[str, Any],
    picture: Measure,
    answer: Answer,
) -> list[Found]:
    """Return the boxes and polygons of a ground truth, to be drawn over the picture."""
    shapes = _shapes(truth, settings.box_format.endswith("_normalised"))
    drawn = outlines(
        [shape for _, shape in shapes], picture, is_upright=answer.is_upright
    )
    found = []
    for row, ((label, _), outline) in enumerate(zip(shapes, drawn, strict=True)):
        place, hue = colours.of(label)
        found.append(Found(row, label, None, hue, outline, place=place))
    return found


def said_of(truth: dict[str, Any]) -> str:
    """Return the ground truth in a few words."""
    if "labels" in truth:
        score = truth.get("score")
        return ", ".join(truth["labels"]) + (f" ({score:g})" if score else "")
    if "value" in truth:
        return f"{truth['value']:g}"
    if "text" in truth:
        return str(truth["text"])
    for name, one in (
        ("boxes", "box"),
        ("polygons", "polygon"),
        ("entities", "entity"),
    ):
        if name in truth:
            labels = ", ".join(sorted({each["label"] for each in truth[name]}))
            count = len(truth[name])
            many = {"box": "boxes", "entity": "entities"}.get(one, f"{one}s")
            named = f": {labels}" if labels else ""
            return f"{count} {one if count == 1 else many}{named}"
    return json.dumps(truth, ensure_ascii=False)


def _shapes(truth: dict[str, Any], is_shares: bool) -> list[tuple[str, Shape]]:
    return [
        (each["label"], shape_of(each, normalised=is_shares))
        for each in (*truth.get("boxes", []), *truth.get("polygons", []))
    ]


def _as_boxes(
    answer: Answer, picture: Measure, is_shares: bool
) -> list[dict[str, Any]]:
    """Return the model's boxes in the form and unit of ground truth, to be corrected."""
    width, height = (1, 1) if is_shares else picture.upright
    return [
        {"label": each.label, **each.outline.box(width, height)}
        for each in answer.found
        if each.outline
    ]
