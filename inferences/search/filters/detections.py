from __future__ import annotations

import math
import operator
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import reduce

from django.db.models import BooleanField, Q
from django.db.models.expressions import RawSQL

from inferences.models import RegisteredModel
from inferences.models.metadata_values import in_slot
from inferences.real_numbers import as_real
from inferences.store import metadata_slots
from inferences.store.metadata_slots import NOTHING

BOUNDS = {
    "minimum_score": ">=",
    "maximum_score": "<=",
    "above_score": ">",
    "below_score": "<",
}
COMPARE = {">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt}
LOOKUPS = {">=": "gte", "<=": "lte", ">": "gt", "<": "lt"}
SHOWN = {">=": "≥", "<=": "≤"}
EACH = (
    "unnest(inferences_inference.labels, inferences_inference.scores) "
    "AS each (label, score)"
)
BEST = (  # the first of equals
    "(SELECT label, score FROM unnest(inferences_inference.labels, "
    "inferences_inference.scores) WITH ORDINALITY AS found (label, score, number) "
    "ORDER BY score DESC NULLS LAST, number LIMIT 1) AS each"
)


@dataclass(frozen=True, slots=True)
class DetectionFilter:
    """At least one detection has one of the labels and a score within all bounds.

    All tests are on the same detection. ``minimum_score`` and ``maximum_score`` are
    included, ``above_score`` and ``below_score`` are not. Without labels any label
    does; a detection without a score passes when no bound is given.
    """

    labels: Sequence[str] | None = None
    minimum_score: float | None = None
    maximum_score: float | None = None
    above_score: float | None = None
    below_score: float | None = None

    def __post_init__(self) -> None:
        if not all(math.isfinite(bound) for _, _, bound in self.bounds()):
            raise ValueError("A score bound is a finite number.")
        low, high = self.minimum_score, self.maximum_score
        if low is not None and high is not None and low > high:
            raise ValueError("minimum_score is above maximum_score.")
        if self.labels is not None and not self.labels:
            raise ValueError("labels names at least one label.")

    def bounds(self) -> Iterator[tuple[str, str, float]]:
        """The bounds that are given, by name, each with its comparison."""
        for name, sign in BOUNDS.items():
            if (bound := getattr(self, name)) is not None:
                yield name, sign, bound

    def plain(self) -> DetectionFilter:
        """The same with bounds as floats and labels as a tuple."""
        labels = None if self.labels is None else tuple(self.labels)
        return DetectionFilter(
            labels, **{name: float(bound) for name, _, bound in self.bounds()}
        )

    def holds(self, label: str, score: float | None) -> bool:
        """Whether one detection passes, as the database compares it."""
        if self.labels is not None:
            name = in_slot(label.encode("utf-8", "replace").decode())
            if name not in {in_slot(each) for each in self.labels}:
                return False
        bounds = list(self.bounds())
        if score is None or not bounds:
            return not bounds
        held = as_real(score)
        return all(COMPARE[sign](held, as_real(bound)) for _, sign, bound in bounds)

    def condition(self, model: RegisteredModel) -> Q:
        """On the arrays of the row, which have no index.

        What drives a page or count is the index of the detections (label, id), which
        ``access_paths`` finds behind ``labels__overlap``, or ``inference_by_score`` behind
        ``top_score``. An upper bound alone is a walk.
        """
        numbers = self.label_numbers(model)
        tests = [(sign, as_real(bound)) for _, sign, bound in self.bounds()]
        if numbers is not None and not numbers:
            return NOTHING
        if numbers is None and not tests:
            return Q(labels__len__gt=0)
        # Beyond the highest or lowest score no detection lies.
        ends = {">": "top_score", "<": "low_score"}
        found = reduce(
            operator.and_, [_compare(ends[s[0]], s, b) for s, b in tests], Q()
        )
        if numbers is not None:
            found &= Q(labels__overlap=numbers)
        if model.awaits_classes:  # some rows hold a distribution as labels
            return found & self._same_detection(numbers, tests, BEST)
        said_by_row = numbers is None and len({sign[0] for sign, _ in tests}) == 1
        if said_by_row or not tests:
            return found
        return found & self._same_detection(numbers, tests)

    def _same_detection(
        self, numbers: list[int] | None, tests: list[tuple[str, float]], of: str = EACH
    ) -> Q:
        within = [f"each.score {sign} %s" for sign, _ in tests]
        values: list[object] = [bound for _, bound in tests]
        if numbers is not None:
            within.append("each.label = ANY(%s)")
            values.append(numbers)
        sql = f"EXISTS (SELECT 1 FROM {of} WHERE {' AND '.join(within)})"
        return Q(RawSQL(sql, values, output_field=BooleanField()))

    def label_numbers(self, model: RegisteredModel) -> list[int] | None:
        if self.labels is None:
            return None
        known = (
            metadata_slots.labels.number(model, in_slot(name)) for name in self.labels
        )
        return sorted({number for number in known if number is not None})

    def __str__(self) -> str:
        parts = []
        if self.labels:
            parts.append(f"label {' or '.join(self.labels)}")
        for _, sign, bound in self.bounds():
            parts.append(f"score {SHOWN.get(sign, sign)} {bound:g}")
        return ", ".join(parts) or "any detection"


def _compare(column: str, sign: str, bound: float) -> Q:
    return Q(**{f"{column}__{LOOKUPS[sign]}": bound})
