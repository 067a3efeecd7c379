"""What all forms of ground truth share: settings, figures and the accumulator protocol."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Protocol

from inferences.ground_truth.agreement import Predicted
from inferences.ground_truth.labels import comparable

LABELS_SHOWN = 200


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of a measurement; ``threshold`` is the lowest score that counts as positive."""

    threshold: float = 0.5
    label: str | None = None  # the label whose curve is drawn


@dataclass(slots=True)
class Figures:
    """The result of an accumulator.

    ``by_label`` has a dict of figures per label. ``notes`` say what was left out and why.
    ``curve`` is the precision-recall curve of ``curve_label``.
    """

    rows: int
    overall: dict[str, float | None]
    by_label: list[dict[str, Any]] = field(default_factory=list)
    confusion: Confusion | None = None
    curve: list[tuple[float, float]] = field(default_factory=list)
    curve_label: str = ""
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Confusion:
    """A confusion matrix: how often each actual label (row) was predicted as each (column)."""

    labels: list[str]
    counts: list[list[int]]
    left_out: int  # inferences with a label that is too rare for the matrix


class Accumulator(Protocol):
    """Accumulates rows of one form of ground truth."""

    def __init__(self, settings: Settings) -> None: ...

    def add(self, truth: Any, predicted: Predicted) -> bool:
        """Add a row; return False if its answer holds nothing that can be compared."""
        ...

    def figures(self, *, whole: bool) -> Figures:
        """Return the figures; only the overall ones, as for a group, if ``whole`` is False."""
        ...


class Spellings:
    """Normalises labels: one spelling for each, whichever spelling a row has.

    ``agreement`` compares labels in Unicode NFC, and whole numbers without a decimal point.
    Figures must do the same, or an answer that agrees would count as wrong. The spelling that
    came first is shown, so that a filter finds the label.
    """

    def __init__(self) -> None:
        self._written: dict[str, str] = {}

    def of(self, label: str) -> str:
        return self._written.setdefault(comparable(label), label)

    def known(self, label: str | None) -> str | None:
        """Return the spelling in the rows of a label that a user asked for, or None."""
        return label and self._written.get(comparable(label), label)


def finite_or_none(value: Any) -> float | None:
    """Return ``float(value)``, or None for NaN and infinity."""
    number = float(value)
    return number if math.isfinite(number) else None


def show(rows: list[dict[str, Any]], notes: list[str]) -> list[dict[str, Any]]:
    """Return at most ``LABELS_SHOWN`` rows, highest support first; note how many are left out."""
    rows = sorted(rows, key=lambda row: (-row["support"], row["label"]))
    if len(rows) > LABELS_SHOWN:
        notes.append(f"{LABELS_SHOWN} of {len(rows)} labels are told, by support.")
    return rows[:LABELS_SHOWN]


def thin(points: list[tuple[float, float]], most: int = 101) -> list[Any]:
    """Return at most ``most`` of the points, evenly chosen, the first and last included."""
    if len(points) <= most:
        return points
    return [points[n * (len(points) - 1) // (most - 1)] for n in range(most)]
