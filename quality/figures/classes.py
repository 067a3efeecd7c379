"""Figures of labels: one class for the whole input, or several."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
from sklearn import metrics
from sklearn.preprocessing import MultiLabelBinarizer

from inferences.ground_truth.agreement import Pairs, Predicted, best_label
from inferences.models.metadata_values import in_slot
from quality.figures.base import (
    Confusion,
    Figures,
    Settings,
    Spellings,
    finite_or_none,
    show,
    thin,
)

CONFUSED_MOST = 25
PROBABILITIES_MOST = 10_000_000  # rows times classes: a dense matrix in memory
NEARLY_ONE = 0.02
NOTHING = ""  # the label of an answer without labels
NO_LABELS = ("\0a", "\0b")  # equal to no label, as labels hold no NUL


class Classes:
    """Figures of one class per row; if a row has several labels, all rows are multi-label."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.actual: list[tuple[str, ...]] = []
        self.answers: list[Pairs] = []
        self.finds_things = False
        self.spellings = Spellings()

    def add(self, truth: list[str], predicted: Predicted) -> bool:
        if predicted.pairs is None:
            return False
        self.finds_things = self.finds_things or predicted.finds_things
        spelling = self.spellings.of
        # The answer's labels come first: their spelling is kept, and filters search by it.
        self.answers.append(
            [(spelling(name), score) for name, score in predicted.pairs]
        )
        self.actual.append(tuple(spelling(in_slot(label)) for label in truth))
        return True

    def figures(self, *, whole: bool) -> Figures:
        if not self.actual:
            return Figures(0, {})
        several = self.finds_things or any(len(labels) > 1 for labels in self.actual)
        return self._of_many(whole) if several else self._of_one(whole)

    def _of_one(self, whole: bool) -> Figures:
        actual = np.array([labels[0] for labels in self.actual], dtype=object)
        predicted = np.array(
            [best_label(a) or NOTHING for a in self.answers], dtype=object
        )
        labels = sorted({*actual, *predicted})
        counted = metrics.precision_recall_fscore_support(
            actual, predicted, labels=labels, zero_division=0
        )
        overall = {
            "accuracy": finite_or_none(metrics.accuracy_score(actual, predicted)),
            **_average(actual, predicted, labels),
        }
        # Balanced accuracy is the mean recall of the classes that occur in the ground truth.
        balanced = metrics.recall_score(
            actual,
            predicted,
            labels=sorted(set(actual)),
            average="macro",
            zero_division=0,
        )
        overall["balanced_accuracy"] = finite_or_none(balanced)
        overall["matthews_correlation"] = None
        if len(labels) > 1:
            correlation = metrics.matthews_corrcoef(actual, predicted)
            overall["matthews_correlation"] = finite_or_none(correlation)
        found = Figures(len(actual), overall)
        self._probabilities(found, actual, whole)
        if whole:
            rows = _by_label(labels, counted)
            found.by_label = show(rows, found.notes)
            found.confusion = _confusion(actual, predicted)
        return found

    def _of_many(self, whole: bool) -> Figures:
        predicted = [
            {n for n, s in a if s is None or s >= self.settings.threshold}
            for a in self.answers
        ]
        labels = sorted({label for row in (*self.actual, *predicted) for label in row})
        # With one column scikit-learn assumes a binary target, which must not be sparse.
        columns = [*labels, *NO_LABELS][: max(2, len(labels))]
        binarizer = MultiLabelBinarizer(classes=columns, sparse_output=True)
        actual, answered = (
            binarizer.fit_transform(self.actual),
            binarizer.transform(predicted),
        )
        numbers = list(range(len(labels)))
        counted = metrics.precision_recall_fscore_support(
            actual, answered, labels=numbers, zero_division=0
        )
        overall = {
            "accuracy": finite_or_none(metrics.accuracy_score(actual, answered)),
            **_average(actual, answered, numbers),
        }
        found = Figures(len(predicted), overall)
        found.notes.append(
            "Several labels an input: accuracy counts inputs whose labels are all right."
        )
        if whole:
            found.by_label = show(_by_label(labels, counted), found.notes)
        return found

    def _probabilities(self, found: Figures, actual: np.ndarray, whole: bool) -> None:
        """Add AUC, log loss and the curve, over rows with a probability for each class."""
        classes = {label for labels in self.actual for label in labels}
        classes |= {label for answer in self.answers for label, _ in answer}
        names = sorted(classes)
        found.overall |= {"auc": None, "log_loss": None}
        if len(names) < 2:
            return
        if len(names) * len(actual) > PROBABILITIES_MOST:
            found.notes.append(
                "AUC and log loss are left out: too many rows times classes."
            )
            return
        place = {name: n for n, name in enumerate(names)}
        rows = [_distribution(answer, place) for answer in self.answers]
        usable = [n for n, row in enumerate(rows) if row is not None]
        if not usable:
            return
        if len(usable) < len(actual):
            found.notes.append(
                f"AUC and log loss are of the {len(usable)} rows that give a probability "
                "for every class."
            )
        scores = np.array([rows[n] for n in usable])
        truth = actual[usable]
        found.overall |= _probabilistic(truth, scores, names)
        if whole:
            self._curve(found, truth, scores, place)

    def _curve(
        self, found: Figures, truth: np.ndarray, scores: np.ndarray, place: Any
    ) -> None:
        chosen = self.spellings.known(self.settings.label)
        label = chosen or Counter(truth).most_common(1)[0][0]
        is_it = truth == label
        if label not in place or not is_it.any():
            return
        precision, recall, _ = metrics.precision_recall_curve(
            is_it, scores[:, place[label]]
        )
        points = [(float(r), float(p)) for r, p in zip(recall, precision, strict=True)]
        found.curve, found.curve_label = thin(points[::-1]), label


def _average(actual: Any, predicted: Any, labels: list[Any]) -> dict[str, float | None]:
    named: dict[str, float | None] = {}
    for average in ("macro", "weighted"):
        precision, recall, f1, _ = metrics.precision_recall_fscore_support(
            actual, predicted, labels=labels, average=average, zero_division=0
        )
        named |= {
            f"precision_{average}": finite_or_none(precision),
            f"recall_{average}": finite_or_none(recall),
            f"f1_{average}": finite_or_none(f1),
        }
    return named


def _by_label(labels: list[str], counted: Any) -> list[dict[str, Any]]:
    return [
        {
            "label": label,
            "precision": finite_or_none(precision),
            "recall": finite_or_none(recall),
            "f1": finite_or_none(f1),
            "support": int(support),
        }
        for label, precision, recall, f1, support in zip(labels, *counted, strict=True)
    ]


def _confusion(actual: np.ndarray, predicted: np.ndarray) -> Confusion:
    """Return the matrix of the ``CONFUSED_MOST`` most frequent labels; count the other rows."""
    counts = Counter(actual) + Counter(predicted)
    labels = sorted(label for label, _ in counts.most_common(CONFUSED_MOST))
    kept = np.isin(actual, labels) & np.isin(predicted, labels)
    if not kept.any():
        return Confusion([], [], len(actual))
    if len(labels) == 1:
        return Confusion(labels, [[int(kept.sum())]], int((~kept).sum()))
    table = metrics.confusion_matrix(actual[kept], predicted[kept], labels=labels)
    return Confusion(labels, table.tolist(), int((~kept).sum()))


def _distribution(answer: Pairs, place: dict[str, int]) -> np.ndarray | None:
    """Return the probability of each class, scaled to add up to 1.

    None if a score is missing or negative, or the sum is more than ``NEARLY_ONE`` off.
    """
    row = np.zeros(len(place))
    scored = {label: score for label, score in answer if score is not None}
    if len(scored) < len(answer) or not scored or min(scored.values()) < 0:
        return None
    if len(scored) == 1 and len(place) == 2:  # binary: the other class has the rest
        ((label, score),) = scored.items()
        if score > 1:
            return None
        row[:] = 1 - score
        row[place[label]] = score
        return row
    for label, score in scored.items():
        row[place[label]] = score
    total = row.sum()
    return row / total if abs(total - 1) <= NEARLY_ONE else None


def _probabilistic(
    truth: np.ndarray, scores: np.ndarray, names: list[str]
) -> dict[str, float | None]:
    loss = finite_or_none(metrics.log_loss(truth, scores, labels=names))
    if len(set(truth)) < 2:
        return {"auc": None, "log_loss": loss}
    if len(names) == 2:
        auc = finite_or_none(metrics.roc_auc_score(truth == names[1], scores[:, 1]))
    elif set(truth) == set(names):
        auc = finite_or_none(
            metrics.roc_auc_score(truth, scores, multi_class="ovr", labels=names)
        )
    else:  # AUC is not defined for a class without a positive: average over the others
        there = [n for n, name in enumerate(names) if name in set(truth)]
        each = [metrics.roc_auc_score(truth == names[n], scores[:, n]) for n in there]
        auc = finite_or_none(np.mean(each))
    return {"auc": auc, "log_loss": loss}
