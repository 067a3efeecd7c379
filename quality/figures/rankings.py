"""Figures of rankings, by the actual relevance of their items."""

from __future__ import annotations

import numpy as np
from sklearn import metrics

from inferences.ground_truth.agreement import Predicted
from inferences.ground_truth.labels import comparable
from inferences.models.metadata_values import in_slot
from quality.figures.base import Figures, Settings, finite_or_none


class Rankings:
    """The mean over rankings of each one's figures. Items that were not ranked come last."""

    def __init__(self, settings: Settings) -> None:
        self.rows = 0
        self.figures_of_rows: list[tuple[float, float, float]] = []

    def add(self, truth: dict[str, float], predicted: Predicted) -> bool:
        if predicted.pairs is None:
            return False
        self.rows += 1
        relevance = {comparable(in_slot(item)): each for item, each in truth.items()}
        ranked = list(dict.fromkeys(comparable(item) for item, _ in predicted.pairs))
        items = list(dict.fromkeys([*ranked, *relevance]))
        if len(items) < 2 or not any(relevance.values()):
            return True  # one item, or none relevant: counted, but without figures
        place = {item: len(items) - n for n, item in enumerate(ranked)}
        actual = np.array([[relevance.get(item, 0.0) for item in items]])
        said = np.array([[place.get(item, 0) for item in items]], dtype=float)
        self.figures_of_rows.append(
            (
                metrics.ndcg_score(actual, said),
                metrics.ndcg_score(actual, said, k=10),
                metrics.label_ranking_average_precision_score(actual > 0, said),
            )
        )
        return True

    def figures(self, *, whole: bool) -> Figures:
        if not self.figures_of_rows:
            return Figures(self.rows, {})
        means = np.mean(self.figures_of_rows, axis=0)
        names = ("ndcg", "ndcg_at_10", "mean_average_precision")
        named = zip(names, map(finite_or_none, means), strict=True)
        found = Figures(self.rows, dict(named))
        if without := self.rows - len(self.figures_of_rows):
            found.notes.append(f"{without} rankings have nothing to be ranked.")
        return found
