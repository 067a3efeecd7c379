"""Ground truth for pages that show and edit it: labels, a number, a text, boxes."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from inferences.ground_truth.truths import allowed
from inferences.ground_truth.upsert import Version, history
from inferences.models import Inference, RegisteredModel
from inferences.models.ground_truth import GroundTruth
from inferences.predictions.geometry import is_upright_already, outlines, shape_of
from inferences.predictions.parse import AnswerSettings
from inferences.predictions.parsers import Detection
from inferences.predictions.parsers.values import Shape
from inferences.previews.pictures import Measure
from inferences.web.view_models.answers import Answer, Found
from inferences.web.view_models.colours import Colours, colours_of
from inferences.web.view_models.drawing import Drawing, drawing_of
from inferences.web.view_models.verdicts import Tally, judge, tally

VERSIONS_SHOWN = 50


@dataclass(frozen=True, slots=True)
class Former:
    """An earlier ground truth, which was replaced or deleted."""

    version: Version
    said: str


@dataclass(frozen=True, slots=True)
class TruthView:
    """A ground truth for the page; ``drawn`` is drawn over the picture.

    ``answer`` is the answer with the verdicts on its shapes, where they were matched with the
    ground truth; ``tally`` counts them.
    """

    truth: GroundTruth | None
    said: str
    forms: tuple[str, ...]
    versions: list[Former]
    drawn: list[Found]
    answer: Answer
    drawing: Drawing | None = None
    tally: Tally | None = None

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
    def verdicts_json(self) -> str:
        """The verdicts on the true shapes, in their order, for the editor."""
        kinds = [each.verdict.kind for each in self.drawn if each.verdict]
        return json.dumps(kinds)

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
        return TruthView(truth, said, forms, versions, [], answer)
    given = truth.truth if truth else {}
    answer, drawn, counted, is_upright = match_with_truth(model, given, answer, picture)
    drawing = drawing_of(model, given, answer, picture, is_upright=is_upright)
    return TruthView(
        truth, said, forms, versions, drawn, answer, drawing=drawing, tally=counted
    )


class Matched(NamedTuple):
    """An answer and the true shapes, with the verdicts on both where they can be matched."""

    answer: Answer
    drawn: list[Found]
    tally: Tally | None
    is_upright: bool  # the model had turned the picture, as far as its shapes tell


def match_with_truth(
    model: RegisteredModel, truth: dict[str, Any], answer: Answer, picture: Measure
) -> Matched:
    """Return the answer and the shapes of its ground truth, to be drawn over the picture."""
    shapes = _shapes(truth, model.box_format.endswith("_normalised"))
    is_upright = answer.is_upright or is_upright_already(
        [shape for _, shape in shapes], picture
    )
    drawn = draw_truth(model, colours_of(model), truth, picture, answer)
    return Matched(*_judged(answer, drawn, truth), is_upright)


def _judged(
    answer: Answer, drawn: list[Found], truth: dict[str, Any]
) -> tuple[Answer, list[Found], Tally | None]:
    """Return the answer and the true shapes with the verdicts on them, and their numbers.

    Without shapes on both sides, or in different units, they are returned as they are.
    """
    actual = [*truth.get("boxes", []), *truth.get("polygons", [])]
    says_shapes = "boxes" in truth or "polygons" in truth
    if not says_shapes or not answer.understood:
        return answer, drawn, None
    found = [Detection(each.label, each.score, each.shape) for each in answer.found]
    verdicts = judge(found, actual)
    if verdicts is None:
        return answer, drawn, None
    of_found, of_true = verdicts
    pairs = zip(answer.found, of_found, strict=True)
    answer = replace(answer, found=[replace(each, verdict=v) for each, v in pairs])
    true_pairs = zip(drawn, of_true, strict=True)
    drawn = [replace(each, verdict=verdict) for each, verdict in true_pairs]
    return answer, drawn, tally(of_found, of_true)


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
