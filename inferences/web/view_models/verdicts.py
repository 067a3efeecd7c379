"""Which shapes of an answer are right, which are wrong, and which true shapes it missed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from inferences.ground_truth.agreement import COUNTS_FROM, ShapeMatch, match_shapes
from inferences.predictions.parsers import Detection

Kind = Literal["right", "wrong", "missed"]
MARKS = {"right": "\N{CHECK MARK}", "wrong": "\N{MULTIPLICATION X}", "missed": "?"}


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of one shape when answer and ground truth are matched.

    ``overlap`` is its IoU with the shape that it matches, or the best one with any shape of its
    label. A wrong shape below the score that counts does not make the answer differ.
    """

    kind: Kind
    overlap: float
    counts: bool = True

    @property
    def mark(self) -> str:
        """One character, for those who do not see the colours."""
        return MARKS[self.kind]

    @property
    def title(self) -> str:
        """The verdict in words, as it is read over the shape."""
        words = f"{self.kind}, IoU {self.overlap:.2f}"
        return words if self.counts else f"{words}, below the score that counts"


@dataclass(frozen=True, slots=True)
class Tally:
    """How many shapes are right (TP), wrong (FP) and missed (FN)."""

    right: int
    wrong: int
    missed: int


def judge(
    found: Sequence[Detection], actual: Sequence[dict[str, Any]]
) -> tuple[list[Verdict], list[Verdict]] | None:
    """Return the verdicts on found and on true shapes; None if their units differ.

    The verdict on a true shape that was found is "right".
    """
    if any(one.shape is None for one in found):
        return None
    matching = match_shapes(found, actual)
    if matching is None:
        return None
    of_found = [
        Verdict(
            "wrong" if match.other is None else "right",
            match.overlap,
            match.other is not None or one.score is None or one.score >= COUNTS_FROM,
        )
        for one, match in zip(found, matching.of_found, strict=True)
    ]
    return of_found, list(map(_verdict_on_true, matching.of_true))


def _verdict_on_true(match: ShapeMatch) -> Verdict:
    return Verdict("missed" if match.other is None else "right", match.overlap)


def tally(of_found: Iterable[Verdict], of_true: Iterable[Verdict]) -> Tally:
    """Return the numbers of shapes by verdict; of the wrong ones those that count."""
    judged = list(of_found)
    return Tally(
        sum(each.kind == "right" for each in judged),
        sum(each.kind == "wrong" and each.counts for each in judged),
        sum(each.kind == "missed" for each in of_true),
    )
