"""The filter on the class distribution of an answer."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from django.db.models import BooleanField, Q
from django.db.models.expressions import RawSQL

from inferences.models import RegisteredModel
from inferences.models.metadata_values import in_slot
from inferences.real_numbers import as_real
from inferences.search.filters.detections import BOUNDS, SHOWN
from inferences.store import metadata_slots
from inferences.store.metadata_slots import NOTHING


class ClassTest(RawSQL):
    """The SQL test that a row's distribution has a class within bounds.

    ``label`` and ``tests`` repeat the test for ``access_paths``, which finds the index of the
    probabilities by them. ``also_labels`` says that some rows still hold a distribution as
    labels.
    """

    def __init__(
        self, label: int, tests: list[tuple[str, float]], also_labels: bool
    ) -> None:
        self.label = label
        self.tests = tests
        self.also_labels = also_labels
        classes, scores = (
            f"inferences_inference.{name}" for name in ("classes", "probabilities")
        )
        if also_labels:
            classes = f"coalesce({classes}, inferences_inference.labels)"
            scores = f"coalesce({scores}, inferences_inference.scores)"
        within = "".join(f" AND each.score {sign} %s" for sign, _ in tests)
        super().__init__(
            f"EXISTS (SELECT 1 FROM unnest({classes}, {scores}) AS each (label, score) "
            f"WHERE each.label = %s{within})",
            [label, *(bound for _, bound in tests)],
            output_field=BooleanField(),
        )


@dataclass(frozen=True, slots=True)
class ClassFilter:
    """The distribution of the answer has the class, with a probability within the bounds.

    It applies to models whose answer is one class; for other models nothing matches. Bounds
    work as those of ``DetectionFilter``; a class without a probability passes when none is
    given.
    """

    label: str
    minimum_score: float | None = None
    maximum_score: float | None = None
    above_score: float | None = None
    below_score: float | None = None

    def __post_init__(self) -> None:
        if not self.label:
            raise ValueError("A class has a name.")
        if not all(math.isfinite(bound) for _, _, bound in self.bounds()):
            raise ValueError("A bound of a probability is a finite number.")
        low, high = self.minimum_score, self.maximum_score
        if low is not None and high is not None and low > high:
            raise ValueError("minimum_score is above maximum_score.")

    def bounds(self) -> Iterator[tuple[str, str, float]]:
        """Yield the bounds that are given: name, SQL comparison and value."""
        for name, sign in BOUNDS.items():
            if (bound := getattr(self, name)) is not None:
                yield name, sign, bound

    def plain(self) -> ClassFilter:
        """Return the same filter with bounds as floats."""
        return ClassFilter(
            self.label, **{name: float(bound) for name, _, bound in self.bounds()}
        )

    def condition(self, model: RegisteredModel) -> Q:
        """Return a test on the row's arrays; the index class_by_probability drives a page."""
        number = metadata_slots.labels.number(model, in_slot(self.label))
        if number is None or not model.answers_one_class:
            return NOTHING
        tests = [(sign, as_real(bound)) for _, sign, bound in self.bounds()]
        return Q(ClassTest(number, tests, model.awaits_classes))

    def __str__(self) -> str:
        said = [f"class {self.label}"]
        said += [f"{SHOWN.get(s, s)} {bound:g}" for _, s, bound in self.bounds()]
        return " ".join(said)
