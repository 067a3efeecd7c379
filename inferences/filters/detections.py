from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from django.db.models import BooleanField, Q
from django.db.models.expressions import RawSQL

from inferences import directory
from inferences.directory import NOTHING
from inferences.metadata import in_slot
from inferences.models import RegisteredModel


@dataclass(frozen=True, slots=True)
class DetectionFilter:
    """At least one detection has one of the labels and a score within both bounds.

    Both tests are on the same detection, and both bounds are included. Without labels
    any label does; a detection without a score passes when no bound is given.
    """

    labels: Sequence[str] | None = None
    minimum_score: float | None = None
    maximum_score: float | None = None

    def __post_init__(self) -> None:
        bounds = [b for b in (self.minimum_score, self.maximum_score) if b is not None]
        if not all(math.isfinite(bound) for bound in bounds):
            raise ValueError("A score bound is a finite number.")
        if len(bounds) == 2 and bounds[0] > bounds[1]:
            raise ValueError("minimum_score is above maximum_score.")
        if self.labels is not None and not self.labels:
            raise ValueError("labels names at least one label.")

    def condition(self, model: RegisteredModel) -> Q:
        """On the arrays of the row. Driven by (label, id) of detections, or top_score."""
        numbers = self.label_numbers(model)
        if numbers is not None and not numbers:
            return NOTHING
        tests, values = [], []
        if numbers is not None:
            tests.append("each.label = ANY(%s)")
            values.append(numbers)
        for bound, sign in ((self.minimum_score, ">="), (self.maximum_score, "<=")):
            if bound is not None:
                tests.append(f"each.score {sign} %s")
                values.append(_as_real(bound))
        if not tests:
            return Q(labels__len__gt=0)
        sql = (
            "EXISTS (SELECT 1 FROM unnest(inferences_inference.labels, "
            "inferences_inference.scores) AS each (label, score) "
            f"WHERE {' AND '.join(tests)})"
        )
        found = Q(RawSQL(sql, values, output_field=BooleanField()))
        if self.minimum_score is not None:
            found &= Q(top_score__gte=_as_real(self.minimum_score))
        if self.maximum_score is not None:
            found &= Q(low_score__lte=_as_real(self.maximum_score))
        if numbers is not None:
            found &= Q(labels__overlap=numbers)
        return found

    def label_numbers(self, model: RegisteredModel) -> list[int] | None:
        if self.labels is None:
            return None
        known = (directory.labels.number(model, in_slot(name)) for name in self.labels)
        return sorted({number for number in known if number is not None})

    def __str__(self) -> str:
        parts = []
        if self.labels:
            parts.append(f"label {' or '.join(self.labels)}")
        if self.minimum_score is not None:
            parts.append(f"score ≥ {self.minimum_score:g}")
        if self.maximum_score is not None:
            parts.append(f"score ≤ {self.maximum_score:g}")
        return ", ".join(parts) or "any detection"


def _as_real(bound: float) -> float:
    """The bound as four bytes hold it, so that 0.9 finds a stored 0.9."""
    most = np.finfo(np.float32).max
    return float(np.float32(np.clip(bound, -most, most)))
