"""What is known of the truth of an answer: that it is given, missing, agrees or differs."""

from __future__ import annotations

from dataclasses import dataclass

from django.db.models import Exists, OuterRef, Q

from inferences.models import RegisteredModel
from inferences.models.ground_truth import GroundTruth

STATES = ("given", "missing", "agrees", "differs")


@dataclass(frozen=True, slots=True)
class TruthFilter:
    """Whether an inference has an actual, and whether its answer agrees with it.

    Where that cannot be said, an answer neither agrees nor differs.
    """

    state: str

    def __post_init__(self) -> None:
        if self.state not in STATES:
            raise ValueError(f"It is one of {', '.join(STATES)}.")

    def condition(self, model: RegisteredModel) -> Q:
        """Served by ground_truth_by_verdict and the primary key, both in the order of
        ids; what is missing is a walk."""
        rows = GroundTruth.objects.beside(OuterRef("registered_model"))
        mine = rows.filter(id=OuterRef("id"))
        if self.state in ("agrees", "differs"):
            mine = mine.filter(agrees=self.state == "agrees")
        return Q(~Exists(mine)) if self.state == "missing" else Q(Exists(mine))

    def __str__(self) -> str:
        said = {"given": "is given", "missing": "is missing"}
        return f"ground truth {said.get(self.state, self.state)}"
