"""Figures of numbers: regressions, several outputs, and forecasts step by step."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np
from sklearn import metrics

from inferences.ground_truth.agreement import Predicted
from inferences.predictions.parsers import values
from quality.figures.base import Figures, Settings, finite_or_none, show


class Errors:
    """Pairs of an actual and a predicted number."""

    def __init__(self) -> None:
        self.actual: list[float] = []
        self.said: list[float] = []

    def add(self, actual: float, said: float) -> None:
        self.actual.append(actual)
        self.said.append(said)

    def told(self) -> dict[str, float | None]:
        actual, said = np.array(self.actual), np.array(self.said)
        enough = len(actual) > 1
        return {
            "mae": finite_or_none(metrics.mean_absolute_error(actual, said)),
            "rmse": finite_or_none(metrics.root_mean_squared_error(actual, said)),
            "median_absolute_error": finite_or_none(
                metrics.median_absolute_error(actual, said)
            ),
            "max_error": finite_or_none(metrics.max_error(actual, said)),
            "r2": finite_or_none(metrics.r2_score(actual, said)) if enough else None,
        }


class Numbers:
    """Figures of a regression's value."""

    def __init__(self, settings: Settings) -> None:
        self.errors = Errors()

    def add(self, truth: float, predicted: Predicted) -> bool:
        content = predicted.said.content
        if not isinstance(content, values.Quantity):
            return False
        self.errors.add(truth, content.value)
        return True

    def figures(self, *, whole: bool) -> Figures:
        rows = len(self.errors.actual)
        return Figures(rows, self.errors.told() if rows else {})


class Steps:
    """Figures of forecasts: of all steps together, and of each step ahead."""

    def __init__(self, settings: Settings) -> None:
        self.rows = 0
        self.steps: dict[int, Errors] = defaultdict(Errors)

    def add(self, truth: list[float], predicted: Predicted) -> bool:
        content = predicted.said.content
        if not isinstance(content, values.Series) or len(content.values) != len(truth):
            return False
        self.rows += 1
        for step, pair in enumerate(zip(truth, content.values, strict=True), 1):
            self.steps[step].add(*pair)
        return True

    def figures(self, *, whole: bool) -> Figures:
        if not self.rows:
            return Figures(0, {})
        together = Errors()
        for step in self.steps.values():
            together.actual += step.actual
            together.said += step.said
        found = Figures(self.rows, together.told())
        if whole:
            rows = [
                {"label": f"step {n}", **each.told(), "support": len(each.actual)}
                for n, each in sorted(self.steps.items())[:500]
            ]
            found.by_label = rows
        return found


class Outputs:
    """Figures of several outputs, one by one: errors of numbers, accuracy of texts."""

    def __init__(self, settings: Settings) -> None:
        self.rows = 0
        self.numbers: dict[str, Errors] = defaultdict(Errors)
        self.texts: dict[str, tuple[list[str], list[str]]] = {}

    def add(self, truth: dict[str, Any], predicted: Predicted) -> bool:
        content = predicted.said.content
        if not isinstance(content, values.Outputs):
            return False
        both = truth.keys() & content.values.keys()
        for name in both:
            actual, said = truth[name], content.values[name]
            if isinstance(actual, str) or isinstance(said, str):
                pairs = self.texts.setdefault(name, ([], []))
                pairs[0].append(str(actual))
                pairs[1].append(str(said))
            else:
                self.numbers[name].add(actual, said)
        self.rows += bool(both)
        return bool(both)

    def figures(self, *, whole: bool) -> Figures:
        if not self.rows:
            return Figures(0, {})
        rows: list[dict[str, Any]] = [
            {"label": name, **each.told(), "support": len(each.actual)}
            for name, each in self.numbers.items()
        ]
        rows += [
            {
                "label": name,
                "accuracy": finite_or_none(metrics.accuracy_score(*pairs)),
                "support": len(pairs[0]),
            }
            for name, pairs in self.texts.items()
        ]
        found = Figures(self.rows, _means(rows))
        found.notes.append("Each figure is the mean of those of the outputs.")
        if whole:
            found.by_label = show(rows, found.notes)
        return found


def _means(rows: list[dict[str, Any]]) -> dict[str, float | None]:
    means: dict[str, float | None] = {}
    for name in ("mae", "rmse", "r2", "accuracy"):
        said = [row[name] for row in rows if row.get(name) is not None]
        if said:
            means[name] = finite_or_none(np.mean(said))
    return means
