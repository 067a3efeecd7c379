"""Figures of generated text: equal if the words are, whatever the whitespace."""

from __future__ import annotations

from sklearn import metrics

from inferences.ground_truth.agreement import Predicted, words_of
from inferences.predictions.parsers import values
from quality.figures.base import Figures, Settings, finite_or_none


class Texts:
    """Figures of generated text."""

    def __init__(self, settings: Settings) -> None:
        self.same: list[bool] = []

    def add(self, truth: str, predicted: Predicted) -> bool:
        content = predicted.said.content
        if not isinstance(content, values.Text):
            return False
        wanted = words_of(truth)
        self.same.append(any(words_of(m.text) == wanted for m in content.messages))
        return True

    def figures(self, *, whole: bool) -> Figures:
        if not self.same:
            return Figures(0, {})
        right = metrics.accuracy_score([True] * len(self.same), self.same)
        return Figures(len(self.same), {"exact_match": finite_or_none(right)})
