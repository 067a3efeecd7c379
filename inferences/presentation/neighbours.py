"""The inferences before and after one, within what a question finds."""

from __future__ import annotations

from dataclasses import dataclass

from django.core.exceptions import ValidationError
from django.db import OperationalError

from inferences.filters import matching
from inferences.models import Inference, RegisteredModel
from inferences.presentation.questions import Question
from inferences.querying import bounded
from inferences.querying.bounded import Part
from inferences.querying.cursors import Place
from inferences.querying.orders import BY_TIME
from istore.deadline import deadline

NEIGHBOUR_SECONDS = 1.0  # of each; a page without its neighbours is a page all the same


@dataclass(frozen=True, slots=True)
class Neighbours:
    """Their inference ids, empty where there is none or it takes too long to find."""

    newer: str = ""
    older: str = ""


def neighbours(
    model: RegisteredModel, inference: Inference, question: Question
) -> Neighbours:
    """By time, whatever the list was sorted by."""
    found = {}
    for name, newest_first in (("older", True), ("newer", False)):
        after = Place(None, inference.id)
        part = Part(newest_first=newest_first, limit=1, after=after)
        try:
            with deadline(NEIGHBOUR_SECONDS):
                rows = matching(model, question.filters)
                places = bounded.places(model, rows, BY_TIME, part)
        except (ValidationError, OperationalError):
            continue
        ids = [place.row_id for place in places]
        names = model.inferences.filter(id__in=ids)
        found[name] = names.values_list("inference_id", flat=True).first() or ""
    return Neighbours(**found)
