"""The filters on ground truth: given, missing, whether the answer agrees with it, its labels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce
from operator import or_
from typing import Any

from django.db.models import OuterRef, Q

from inferences.models import RegisteredModel
from inferences.models.ground_truth import GroundTruth, GroundTruthQuerySet
from inferences.models.side_rows import HasSideRow
from inferences.search.access_paths import AccessPath, path_by_side_rows
from inferences.search.filters.kind import Kind, Parameter, Term
from inferences.search.filters.leaf import Leaf
from inferences.search.filters.words import word

LABELLED = ("boxes", "polygons", "entities")  # forms whose members have a label each
STATES = ("given", "missing", "agrees", "differs")


@dataclass(frozen=True, slots=True)
class TruthFilter(Leaf):
    """Whether an inference has ground truth, and whether its answer agrees with it.

    An answer that cannot be compared with its ground truth neither agrees nor differs.
    """

    state: str

    def __post_init__(self) -> None:
        if self.state not in STATES:
            raise ValueError(f"It is one of {', '.join(STATES)}.")

    def condition(self, model: RegisteredModel) -> Q:
        """Return a test served by ground_truth_by_verdict or the primary key, both in id order.

        For ``missing`` there is no index: rows are walked.
        """
        mine = self._rows(model).filter(id=OuterRef("id"))
        return Q(~HasSideRow(mine)) if self.state == "missing" else Q(HasSideRow(mine))

    def access_paths(self, model: RegisteredModel) -> list[AccessPath]:
        if self.state == "missing":
            return []
        return [path_by_side_rows(self._rows(model), in_order=True, is_exact=True)]

    def _rows(self, model: RegisteredModel) -> GroundTruthQuerySet:
        rows = GroundTruth.objects.beside(model)
        if self.state in ("agrees", "differs"):
            rows = rows.filter(agrees=self.state == "agrees")
        return rows

    def __str__(self) -> str:
        said = {"given": "is given", "missing": "is missing"}
        return f"ground truth {said.get(self.state, self.state)}"


@dataclass(frozen=True, slots=True)
class TruthLabelFilter(Leaf):
    """The ground truth has this label: alone, or of a box, a polygon or an entity."""

    label: str

    def __post_init__(self) -> None:
        if not self.label:
            raise ValueError("A label has at least one character.")

    def condition(self, model: RegisteredModel) -> Q:
        """Return a test of the row's ground truth, which is read by its primary key."""
        mine = self._rows(model).filter(id=OuterRef("id"))
        return Q(HasSideRow(mine))

    def access_paths(self, model: RegisteredModel) -> list[AccessPath]:
        return [path_by_side_rows(self._rows(model), in_order=True, is_exact=True)]

    def _rows(self, model: RegisteredModel) -> GroundTruthQuerySet:
        # No index holds labels of ground truth: the model's rows are read in id order.
        forms: list[dict[str, Any]] = [{"labels": [self.label]}]
        forms += [{form: [{"label": self.label}]} for form in LABELLED]
        has_label = reduce(or_, [Q(truth__contains=form) for form in forms])
        return GroundTruth.objects.beside(model).filter(has_label)

    def __str__(self) -> str:
        return f"ground truth has the label {self.label}"

    def terms(self) -> Iterator[str]:
        yield f"truth.label:{word(self.label)}"


CHOICES = {state: TruthFilter(state) for state in STATES}
KIND = Kind(
    terms=(
        Term(
            "truth:",
            lambda reading: reading.word(f"It is one of {', '.join(STATES)}."),
        ),
        Term(
            "truth.label:",
            lambda reading: TruthLabelFilter(reading.scanner.value()[0]),
            known="labels",
        ),
    ),
    words={f"truth:{state}": each for state, each in CHOICES.items()},
    parameters=(
        Parameter(
            "truth",
            "Ground truth",
            "ground truth",
            choices=CHOICES,
            titles={
                "given": "given",
                "missing": "missing",
                "agrees": "agrees with the answer",
                "differs": "differs from the answer",
            },
        ),
    ),
)
