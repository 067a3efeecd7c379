"""Rank inferences by their worst shape: the lowest overlap of a found shape with a true one.

No column holds overlaps, as they follow from the answer and its ground truth, which is corrected. So the
answers of a window are read and matched, as they are for a page.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from inferences.ground_truth.agreement import Predicted, match_shapes
from inferences.ground_truth.answers import predictions
from inferences.models import GroundTruth, RegisteredModel
from inferences.search.cursors import Rank

SHAPES = ("boxes", "polygons")


@dataclass(frozen=True, slots=True)
class LowestOverlap:
    """The order by the worst shape of each inference; what cannot be matched comes last."""

    window: ClassVar[int] = 1_000

    def ranks(self, model: RegisteredModel, ids: Sequence[int]) -> dict[int, Rank]:
        """Return the lowest overlap of each inference that has shapes as ground truth."""
        rows = GroundTruth.objects.beside(model).filter(id__in=ids)
        truths = {
            row_id: truth
            for row_id, truth in rows.values_list("id", "truth")
            if _form(truth)
        }
        answers = predictions(model, truths) if truths else {}
        return {
            row_id: _lowest(truths[row_id], answer)
            for row_id, answer in answers.items()
        }


def _form(truth: dict[str, Any]) -> str | None:
    return next((name for name in SHAPES if name in truth), None)


def _lowest(truth: dict[str, Any], answer: Predicted) -> float | None:
    """Return the lowest overlap; missed true shapes count with what came nearest to them."""
    form = _form(truth)
    if form is None or not answer.said.understood:
        return None
    matching = match_shapes(answer.said.detections, truth[form])
    if matching is None:
        return None
    overlaps = [match.overlap for match in matching.of_found]
    missed = [match.overlap for match in matching.of_true if match.other is None]
    return min((*overlaps, *missed), default=1.0)
