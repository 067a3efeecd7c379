"""Detections as patches: the parts of pictures that answers and ground truth have shapes around.

A list of patches is read as the list of inferences is: one page by an index, of which the shapes
are taken. So a page costs the same however many inferences there are. The order among patches is
that of one page; pages follow each other in the order of the inferences, by IoU in that of their
worst shape.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from inferences.models import Inference, RegisteredModel
from inferences.models.ground_truth import GroundTruth
from inferences.predictions.geometry import Outline
from inferences.previews.pictures import Crop
from inferences.web.view_models.answers import Found, answer_of
from inferences.web.view_models.inputs import Look, looks, ratio_class
from inferences.web.view_models.matches import DetectionTest
from inferences.web.view_models.questions import Question
from inferences.web.view_models.truths import match_with_truth

PER_INFERENCE = 10  # of one inference; a link leads to the others
PATCHES_MAX = 480  # of a page
AROUND = 0.15  # of the shape's side: what is seen around it
LEAST = 1.5  # percent of the picture around a shape at least


@dataclass(frozen=True, slots=True)
class Patch:
    """One shape of an answer, or of a ground truth (``is_true``), with what is around it."""

    inference: Inference
    look: Look
    found: Found
    is_true: bool
    others: int = (
        0  # shapes of its inference that have no patch; said by the last patch of it
    )

    @property
    def outline(self) -> Outline:
        assert self.found.outline is not None
        return self.found.outline

    @property
    def crop(self) -> Crop:
        """The part of the upright picture in thousandths, as previews take it."""
        outline = self.outline
        wide = max(AROUND * (outline.right - outline.left), LEAST)
        high = max(AROUND * (outline.bottom - outline.top), LEAST)
        return (
            max(math.floor(10 * (outline.left - wide)), 0),
            max(math.floor(10 * (outline.top - high)), 0),
            min(math.ceil(10 * (outline.right + wide)), 1000),
            min(math.ceil(10 * (outline.bottom + high)), 1000),
        )

    @property
    def box(self) -> tuple[float, float, float, float]:
        """Left, top, width and height of the part in pixels of the upright picture."""
        assert self.look.picture is not None
        width, height = self.look.picture.upright
        left, top, right, bottom = self.crop
        return (
            left * width / 1000,
            top * height / 1000,
            (right - left) * width / 1000,
            (bottom - top) * height / 1000,
        )

    @property
    def ratio(self) -> int:
        """The class of its width by height."""
        _, _, width, height = self.box
        return ratio_class(width, height)


@dataclass(frozen=True, slots=True)
class Patches:
    """The patches of a page of inferences; ``left_out`` is how many more they have."""

    shown: list[Patch]
    left_out: int = 0


Rank = Callable[[Found], tuple[Any, ...]]


def _by_score(found: Found) -> tuple[Any, ...]:
    return (-(found.score if found.score is not None else -1),)


def _by_low_score(found: Found) -> tuple[Any, ...]:
    return (found.score if found.score is not None else math.inf,)


def _by_label(found: Found) -> tuple[Any, ...]:
    return found.label, *_by_score(found)


def _by_overlap(found: Found) -> tuple[Any, ...]:
    return (found.verdict.overlap if found.verdict else math.inf, *_by_score(found))


RANKS: dict[str, Rank] = {
    "score": _by_score,
    "uncertain": _by_low_score,
    "label": _by_label,
    "iou": _by_overlap,
}


def patches_of(
    model: RegisteredModel,
    page: Sequence[Inference],
    question: Question,
    test: DetectionTest | None,
) -> Patches:
    """Return the patches of a page, in the order of the question.

    If the question asks for labels or scores, only shapes of an answer that pass ``test`` have
    a patch, and only true shapes of these labels.
    """
    seen = looks(page)
    rows = GroundTruth.objects.beside(model).filter(id__in=[row.id for row in page])
    truths = dict(rows.values_list("id", "truth"))
    rank = RANKS.get(question.sort)
    made: list[Patch] = []
    for inference in page:
        look = seen[inference.id]
        if look.picture is None:
            continue
        shapes = _shapes(
            model, inference, look, truths.get(inference.id, {}), question, test
        )
        found = sorted(shapes, key=lambda pair: (rank or _by_score)(pair[0]))
        others = max(len(found) - PER_INFERENCE, 0)
        kept = found[:PER_INFERENCE]
        made += (
            Patch(inference, look, one, is_true, others if one is kept[-1][0] else 0)
            for one, is_true in kept
        )
    if rank:
        made.sort(key=lambda patch: rank(patch.found))
    return Patches(made[:PATCHES_MAX], max(len(made) - PATCHES_MAX, 0))


def _shapes(
    model: RegisteredModel,
    inference: Inference,
    look: Look,
    truth: dict[str, Any],
    question: Question,
    test: DetectionTest | None,
) -> Iterator[tuple[Found, bool]]:
    """Yield the shapes that have a patch, each with whether it is a true one.

    True shapes that the answer found are left out where answers are shown beside them.
    """
    assert look.picture is not None
    answer = answer_of(model, inference, look.picture, test=test)
    matched = match_with_truth(model, truth, answer, look.picture)
    if question.patches != "truth":
        for one in matched.answer.found:
            if one.outline and (one.is_match or test is None):
                yield one, False
    if question.patches == "answers":
        return
    for one in matched.drawn:
        is_found = one.verdict is not None and one.verdict.kind == "right"
        is_asked_for = not question.labels or one.label in question.labels
        if one.outline and is_asked_for and not (is_found and not question.patches):
            yield one, True
