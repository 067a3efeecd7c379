"""Compare an answer with its ground truth, when the ground truth is written.

An answer agrees under these conditions, by the form of the ground truth:

    labels      the best label is the true one; if several are true, the labels with a
                score of at least 0.5 are exactly those. Here and below labels are equal
                however their accents are composed, and ``1.0`` is ``1`` (``comparable``)
    value, values, series    within 5 % of the true value, texts equal
    boxes, polygons          each true shape is matched by one shape of the answer with its
                label and an IoU of at least 0.5, and no shape with a score of 0.5 or more
                is left over
    entities    the same spans with the same labels
    relevance   the first item is among the most relevant
    text        the same words, whatever the blanks between them, and however their accents
                are composed (Unicode NFC)

The result is None where they cannot be compared: the answer was not understood, or has another
unit.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from inferences.ground_truth.labels import comparable
from inferences.ground_truth.overlaps import (
    box_overlaps,
    contour_overlaps,
    contours_of,
)
from inferences.models.metadata_values import in_slot
from inferences.predictions.geometry import shape_of
from inferences.predictions.parsers.context import is_complete
from inferences.predictions.parsers.values import (
    Box,
    Deconstructed,
    Detection,
    Entities,
    OrientedBox,
    Outputs,
    Quantity,
    Series,
    Text,
)

TOLERANCE = 0.05  # of the true value
COUNTS_FROM = 0.5  # score from which on a label or shape counts as answered
MATCHED_FROM = 0.5  # IoU from which on two shapes match

Pairs = list[tuple[str, float | None]]


@dataclass(frozen=True, slots=True)
class Predicted:
    """An answer: labels and scores as the row has them, the rest as parsed."""

    pairs: Pairs | None
    said: Deconstructed
    finds_things: bool = False  # detections, not one class for the whole input


def agrees(truth: dict[str, Any], predicted: Predicted) -> bool | None:
    """Return whether the answer agrees with the ground truth, or None if it cannot be said."""
    name = next(name for name in truth if name != "score")
    return TESTS[name](truth[name], predicted)


def best_label(pairs: Pairs) -> str | None:
    """Return the label with the highest score; without scores, the first."""
    best = max(pairs, key=_rank, default=None)
    return best and best[0]


def _rank(pair: tuple[str, float | None]) -> float:
    return -math.inf if pair[1] is None else pair[1]


def meant(pairs: Pairs) -> set[str]:
    """Return the labels that count as answered: those with a score of 0.5 or more, or with none."""
    return {label for label, score in pairs if score is None or score >= COUNTS_FROM}


def near(value: float, actual: float) -> bool:
    """Return whether a value is within 5 % of the true one."""
    return abs(value - actual) <= TOLERANCE * abs(actual)


def _labels(actual: list[str], predicted: Predicted) -> bool | None:
    if predicted.pairs is None:
        return None
    # Rows hold long labels cut, so the true labels are cut the same way.
    wanted = {comparable(in_slot(label)) for label in actual}
    if len(actual) == 1 and not predicted.finds_things:
        best = best_label(predicted.pairs)
        return best is not None and comparable(best) in wanted
    return set(map(comparable, meant(predicted.pairs))) == wanted


def _value(actual: float, predicted: Predicted) -> bool | None:
    content = predicted.said.content
    return near(content.value, actual) if isinstance(content, Quantity) else None


def _values(actual: dict[str, Any], predicted: Predicted) -> bool | None:
    content = predicted.said.content
    if not isinstance(content, Outputs) or not actual.keys() <= content.values.keys():
        return None
    return all(_same(content.values[name], each) for name, each in actual.items())


def _same(value: float | str, actual: float | str) -> bool:
    if isinstance(value, str) or isinstance(actual, str):
        return comparable(str(value)) == comparable(str(actual))
    return near(value, actual)


def _series(actual: list[float], predicted: Predicted) -> bool | None:
    content = predicted.said.content
    if not isinstance(content, Series) or len(content.values) != len(actual):
        return None
    return all(map(near, content.values, actual))


def _text(actual: str, predicted: Predicted) -> bool | None:
    content = predicted.said.content
    if not isinstance(content, Text):
        return None
    wanted = words_of(actual)
    return any(words_of(message.text) == wanted for message in content.messages)


def words_of(text: str) -> list[str]:
    """Return the words to compare, in NFC because one letter may be several code points."""
    return unicodedata.normalize("NFC", text).split()


def _entities(actual: list[dict[str, Any]], predicted: Predicted) -> bool | None:
    content = predicted.said.content
    if not isinstance(content, Entities):
        return None
    spans = {
        (comparable(each.label), each.start, each.end) for each in content.entities
    }
    wanted = {
        (comparable(each["label"]), each["start"], each["end"]) for each in actual
    }
    return spans == wanted


def _relevance(actual: dict[str, float], predicted: Predicted) -> bool | None:
    if predicted.pairs is None:
        return None
    if not predicted.pairs:
        return False
    relevance = {comparable(in_slot(item)): each for item, each in actual.items()}
    first = comparable(best_label(predicted.pairs) or "")
    return relevance.get(first, 0.0) == max(relevance.values())


def _shapes(actual: list[dict[str, Any]], predicted: Predicted) -> bool | None:
    if predicted.pairs is None or not predicted.said.understood:
        return None
    found = sorted(predicted.said.detections, key=lambda one: -(one.score or 0))
    labels = {comparable(each["label"]) for each in actual}
    unmatched = [
        one for one in found if comparable(one.label) not in labels and _counts(one)
    ]
    if unmatched:
        return False
    matching = match_shapes(found, actual)
    if matching is None:
        return None
    left_over = (
        _counts(one)
        for one, match in zip(found, matching.of_found, strict=True)
        if match.other is None
    )
    is_found = all(match.other is not None for match in matching.of_true)
    return is_found and not any(left_over)


def _counts(one: Detection) -> bool:
    return one.score is None or one.score >= COUNTS_FROM


@dataclass(frozen=True, slots=True)
class ShapeMatch:
    """The shape of the other side that a shape matches, and its best IoU with any of its label."""

    other: int | None = None  # its place in the other list
    overlap: float = 0.0


@dataclass(frozen=True, slots=True)
class Matching:
    """The match of each found shape, and of each true one."""

    of_found: list[ShapeMatch]
    of_true: list[ShapeMatch]


def match_shapes(
    found: Sequence[Detection], actual: Sequence[dict[str, Any]]
) -> Matching | None:
    """Match shapes of one label one to one, the highest score first; None if units differ.

    Of the true shapes that are free a found one gets that with the largest IoU, from
    ``MATCHED_FROM`` on. What agrees with a ground truth and what pages draw as right follow
    from this one rule.
    """
    of_found = [ShapeMatch() for _ in found]
    of_true = [ShapeMatch() for _ in actual]
    best_first = sorted(range(len(found)), key=lambda place: -(found[place].score or 0))
    for label in sorted({comparable(each["label"]) for each in actual}):
        rows = [n for n in best_first if comparable(found[n].label) == label]
        columns = [
            n for n, each in enumerate(actual) if comparable(each["label"]) == label
        ]
        overlaps = overlaps_of([found[n] for n in rows], [actual[n] for n in columns])
        if overlaps is None:
            return None
        pairs = _pair(overlaps)
        for row, place in enumerate(rows):
            column = pairs.get(row)
            other = None if column is None else columns[column]
            best = overlaps[row].max() if column is None else overlaps[row, column]
            of_found[place] = ShapeMatch(other, float(best))
        of_row = {column: row for row, column in pairs.items()}
        for column, place in enumerate(columns):
            found_by = of_row.get(column)
            other = None if found_by is None else rows[found_by]
            best = overlaps[:, column].max(initial=0)
            if found_by is not None:
                best = overlaps[found_by, column]
            of_true[place] = ShapeMatch(other, float(best))
    return Matching(of_found, of_true)


def _pair(overlaps: np.ndarray) -> dict[int, int]:
    """Return the true shape (column) of each found one (row) that matches; rows are best first."""
    free = set(range(overlaps.shape[1]))
    pairs = {}
    for row in range(overlaps.shape[0]):
        best = max(free, key=lambda column: overlaps[row, column], default=None)
        if best is not None and overlaps[row, best] >= MATCHED_FROM:
            free.discard(best)
            pairs[row] = best
    return pairs


def overlaps_of(
    found: Sequence[Detection], actual: Sequence[dict[str, Any]]
) -> np.ndarray | None:
    """Return the IoU of each found shape (row) with each true one (column).

    Returns None where their units differ, so that they cannot be compared.
    """
    if not found or not actual:
        return np.zeros((len(found), len(actual)))
    boxes = [one.shape for one in found if isinstance(one.shape, Box)]
    if len(boxes) == len(found) and "xmin" in actual[0]:
        if any(box.normalised for box in boxes) and not all(map(_is_share, actual)):
            return None
        return box_overlaps(
            [(b.xmin, b.ymin, b.xmax - b.xmin, b.ymax - b.ymin) for b in boxes],
            [
                (a["xmin"], a["ymin"], a["xmax"] - a["xmin"], a["ymax"] - a["ymin"])
                for a in actual
            ],
        )
    shapes = [contours_of(one.shape) for one in found]
    wanted = [contours_of_actual(shape) for shape in actual]
    is_oriented = any(isinstance(one.shape, OrientedBox) for one in found)
    if not is_complete(shapes) or is_oriented != ("r" in actual[0]):
        return None
    return contour_overlaps(shapes, wanted)


def contours_of_actual(actual: dict[str, Any]) -> list[list[Any]]:
    """Return a true shape as contours, in its own unit."""
    return contours_of(shape_of(actual)) or []


def _is_share(actual: dict[str, Any]) -> bool:
    """Return whether a box is in shares of the image, from 0 to 1."""
    return math.fabs(actual["xmax"]) <= 1 and math.fabs(actual["ymax"]) <= 1


TESTS: dict[str, Callable[[Any, Predicted], bool | None]] = {
    "labels": _labels,
    "value": _value,
    "values": _values,
    "series": _series,
    "boxes": _shapes,
    "polygons": _shapes,
    "entities": _entities,
    "relevance": _relevance,
    "text": _text,
}
