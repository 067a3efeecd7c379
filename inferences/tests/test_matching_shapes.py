"""Shapes of an answer are matched with true ones by one rule: for verdicts, and for agreement."""

from __future__ import annotations

import pytest

from inferences.ground_truth.accepted_answers import truth_of_answer
from inferences.ground_truth.agreement import match_shapes
from inferences.models import TaskType
from inferences.predictions.parsers import Box, Detection, Kind, Mask
from inferences.predictions.parsers.values import Deconstructed, OrientedBox
from inferences.web.view_models.verdicts import Tally, judge, tally
from istore.errors import Invalid


def found(label: str, score: float | None, *sides: float, **more) -> Detection:
    return Detection(label, score, Box(*sides, **more))


def true(label: str, *sides: float) -> dict[str, object]:
    names = ("xmin", "ymin", "xmax", "ymax")
    return {"label": label, **dict(zip(names, sides, strict=True))}


def test_the_higher_score_takes_the_shape_and_the_other_is_left_over():
    answer = [
        found("ship", 0.6, 0, 0, 10, 10),
        found("ship", 0.9, 0, 0, 10, 8),
        found("crane", 0.9, 0, 0, 10, 10),
    ]
    matching = match_shapes(answer, [true("ship", 0, 0, 10, 10)])
    assert [match.other for match in matching.of_found] == [None, 0, None]
    assert [match.overlap for match in matching.of_found] == pytest.approx([1, 0.8, 0])
    assert matching.of_true[0].other == 1


def test_what_overlaps_by_less_than_half_is_wrong_and_missed():
    answer = [found("ship", 0.9, 0, 0, 10, 4), found("ship", 0.2, 50, 0, 60, 10)]
    of_found, of_true = judge(answer, [true("ship", 0, 0, 10, 10)])
    assert [each.kind for each in of_found] == ["wrong", "wrong"]
    assert [each.counts for each in of_found] == [True, False]
    assert of_true[0].title == "missed, IoU 0.40"
    assert tally(of_found, of_true) == Tally(0, 1, 1)


def test_shapes_in_different_units_have_no_verdict():
    shares = found("ship", 0.9, 0.1, 0.1, 0.2, 0.2, normalised=True)
    assert judge([shares], [true("ship", 10, 10, 20, 20)]) is None
    assert judge([Detection("ship", 0.9)], [true("ship", 0, 0, 1, 1)]) is None


def test_nothing_found_is_all_missed():
    of_found, of_true = judge([], [true("ship", 0, 0, 1, 1)])
    assert (of_found, of_true[0].kind) == ([], "missed")


def answer_of(kind: Kind, *detections: Detection, **more) -> Deconstructed:
    return Deconstructed(kind, list(detections), understood=True, **more)


def test_an_accepted_answer_has_the_unit_of_the_answer_and_the_least_score():
    answer = answer_of(
        Kind.OBJECT_DETECTION,
        found("ship", 0.9, 1, 2, 3, 4),
        found("crane", 0.1, 1, 2, 3, 4),
    )
    assert truth_of_answer(TaskType.OBJECT_DETECTION, answer, 0.5) == {
        "boxes": [true("ship", 1, 2, 3, 4)]
    }
    nothing = answer_of(Kind.OBJECT_DETECTION)
    assert truth_of_answer(TaskType.OBJECT_DETECTION, nothing) == {"boxes": []}


def test_rotated_boxes_masks_and_classes_are_accepted():
    turned = Detection("ship", 0.9, OrientedBox(0.5, 0.5, 0.2, 0.1, 0.3))
    oriented = answer_of(Kind.ORIENTED_OBJECT_DETECTION, turned)
    (box,) = truth_of_answer(TaskType.ORIENTED_OBJECT_DETECTION, oriented)["boxes"]
    assert (box["label"], box["r"]) == ("ship", 0.3)
    mask = Detection("water", 0.9, Mask((0, 4), 2, 2))
    segments = answer_of(Kind.IMAGE_SEGMENTATION, mask)
    (polygon,) = truth_of_answer(TaskType.IMAGE_SEGMENTATION, segments)["polygons"]
    assert sorted(polygon["contours"][0]) == [[0, 0], [0, 2], [2, 0], [2, 2]]
    classes = answer_of(
        Kind.IMAGE_CLASSIFICATION,
        Detection("one", 0.3),
        Detection("two", 0.7),
        is_one_class=True,
    )
    labels = truth_of_answer(TaskType.IMAGE_CLASSIFICATION, classes)
    assert labels == {"labels": ["two"]}


@pytest.mark.parametrize(
    "answer", [Deconstructed(), answer_of(Kind.EMBEDDING, embedding=[1.0])]
)
def test_what_says_nothing_is_not_accepted(answer):
    with pytest.raises(Invalid):
        truth_of_answer(TaskType.OBJECT_DETECTION, answer)
