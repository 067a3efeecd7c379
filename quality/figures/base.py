"""What every form of truth shares: rows in, figures out."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Protocol

from inferences.ground_truth.agreement import Predicted
from inferences.ground_truth.labels import comparable

LABELS_SHOWN = 200


@dataclass(frozen=True, slots=True)
class Settings:
    """``threshold`` is the score from which on an answer is meant."""

    threshold: float = 0.5
    label: str | None = None  # whose curve is drawn


@dataclass(slots=True)
class Figures:
    """``by_label`` are rows of figures, each with its label; ``notes`` say what was left
    out and why. ``curve`` is precision over recall, of ``curve_label``."""

    rows: int
    overall: dict[str, float | None]
    by_label: list[dict[str, Any]] = field(default_factory=list)
    confusion: Confusion | None = None
    curve: list[tuple[float, float]] = field(default_factory=list)
    curve_label: str = ""
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Confusion:
    """How often each actual label (a row) was predicted as each (a column)."""

    labels: list[str]
    counts: list[list[int]]
    left_out: int  # rows of rarer labels


class Accumulator(Protocol):
    """Rows of one form of truth."""

    def __init__(self, settings: Settings) -> None: ...

    def add(self, truth: Any, predicted: Predicted) -> bool:
        """Take a row in. False when its answer says nothing that can be compared."""
        ...

    def figures(self, *, whole: bool) -> Figures:
        """Of a group the overall figures are enough: then ``whole`` is False."""
        ...


class Spellings:
    """One way to write each label, whichever of its ways the rows have.

    Agreement holds labels against each other composed (Unicode NFC), and whole numbers
    without a point; figures must do the same, or a verdict of right is counted as wrong.
    The way that was met first is shown, so a label stays one that a filter finds.
    """

    def __init__(self) -> None:
        self._written: dict[str, str] = {}

    def of(self, label: str) -> str:
        return self._written.setdefault(comparable(label), label)

    def known(self, label: str | None) -> str | None:
        """The way in which a label was written that somebody asks for."""
        return label and self._written.get(comparable(label), label)


def finite_or_none(value: Any) -> float | None:
    """Return ``float(value)``, or None for NaN and infinity."""
    number = float(value)
    return number if math.isfinite(number) else None


def show(rows: list[dict[str, Any]], notes: list[str]) -> list[dict[str, Any]]:
    """The rows with the most support first, and a note of those left out."""
    rows = sorted(rows, key=lambda row: (-row["support"], row["label"]))
    if len(rows) > LABELS_SHOWN:
        notes.append(f"{LABELS_SHOWN} of {len(rows)} labels are told, by support.")
    return rows[:LABELS_SHOWN]


def thin(points: list[tuple[float, float]], most: int = 101) -> list[Any]:
    if len(points) <= most:
        return points
    return [points[n * (len(points) - 1) // (most - 1)] for n in range(most)]
