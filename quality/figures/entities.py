"""Figures of text spans: a span is right if label, start and end are."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from sklearn import metrics

from inferences.ground_truth.agreement import Predicted
from inferences.predictions.parsers import values
from quality.figures.base import Figures, Settings, Spellings, finite_or_none, show


class Entities:
    """Figures of text spans: precision, recall and F1, over all and by label."""

    def __init__(self, settings: Settings) -> None:
        self.rows = 0
        self.spellings = Spellings()
        # By label, for every span that is actual or found: the pair (is actual, is found).
        self.actual: dict[str, list[bool]] = defaultdict(list)
        self.found: dict[str, list[bool]] = defaultdict(list)

    def add(self, truth: list[dict[str, Any]], predicted: Predicted) -> bool:
        content = predicted.said.content
        if not isinstance(content, values.Entities):
            return False
        self.rows += 1
        spelling = self.spellings.of
        found = {(spelling(e.label), e.start, e.end) for e in content.entities}
        actual = {(spelling(e["label"]), e["start"], e["end"]) for e in truth}
        for span in actual | found:
            self.actual[span[0]].append(span in actual)
            self.found[span[0]].append(span in found)
        return True

    def figures(self, *, whole: bool) -> Figures:
        if not self.rows:
            return Figures(0, {})
        together = [
            [flag for flags in side.values() for flag in flags]
            for side in (self.actual, self.found)
        ]
        overall = _count(*together)
        overall.pop("support")
        result = Figures(self.rows, overall)
        if whole:
            rows = [
                {"label": label, **_count(flags, self.found[label])}
                for label, flags in self.actual.items()
            ]
            result.by_label = show(rows, result.notes)
        return result


def _count(actual: list[bool], found: list[bool]) -> dict[str, Any]:
    if not actual:
        return {"precision": None, "recall": None, "f1": None, "support": 0}
    precision, recall, f1, _ = metrics.precision_recall_fscore_support(
        actual, found, average="binary", pos_label=True, zero_division=0
    )
    return {
        "precision": finite_or_none(precision),
        "recall": finite_or_none(recall),
        "f1": finite_or_none(f1),
        "support": sum(actual),
    }
