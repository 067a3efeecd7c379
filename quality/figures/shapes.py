"""Figures of boxes and shapes: COCO's average precision, by pycocotools."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import redirect_stdout
from io import StringIO
from typing import Any

import numpy as np
from pycocotools import mask as masks
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from inferences.ground_truth.agreement import Predicted, contours_of_actual
from inferences.ground_truth.overlaps import GRID, contours_of, encode
from inferences.predictions.parsers.values import Box, Detection
from quality.figures.base import Figures, Settings, Spellings, finite_or_none, show

SHAPES_MOST = 300_000  # shapes in memory at once, found and actual together
ALL, HUNDRED = 0, 2  # indices in COCOeval: area range "all", 100 detections an image

Annotation = dict[str, Any]


class Boxes:
    """Figures of boxes. Rotated boxes are compared as masks."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.images = 0
        self.left_out = 0
        self.of_masks: bool | None = None
        self.numbers: dict[str, int] = {}
        self.spellings = Spellings()
        self.actual: list[Annotation] = []
        self.found: list[Annotation] = []

    def add(self, truth: list[dict[str, Any]], predicted: Predicted) -> bool:
        found = predicted.said.detections
        if not predicted.said.understood:
            return False
        if self._count + len(found) + len(truth) > SHAPES_MOST:
            self.left_out += 1
            return True
        drawn = self._drawn(found, truth)
        if drawn is None:
            return False
        self.images += 1
        actual_shapes, found_shapes = drawn
        # The answer's labels come first: their spelling is kept, and filters search by it.
        for one, shape in zip(found, found_shapes, strict=True):
            score = 1.0 if one.score is None else one.score
            self._keep(self.found, one.label, shape | {"score": score})
        for each, shape in zip(truth, actual_shapes, strict=True):
            self._keep(self.actual, each["label"], shape)
        return True

    @property
    def _count(self) -> int:
        return len(self.actual) + len(self.found)

    def _drawn(
        self, found: Sequence[Detection], truth: Sequence[dict[str, Any]]
    ) -> tuple[list[Annotation], list[Annotation]] | None:
        """Return actual and found shapes of one image; None if they cannot be compared."""
        if not found and not truth:
            return [], []
        shapes = [one.shape for one in found if isinstance(one.shape, Box)]
        plain = len(shapes) == len(found) and all("xmin" in each for each in truth)
        if self.of_masks is None:
            self.of_masks = not plain
        if self.of_masks:
            return _masks(found, truth)
        if not plain or _units_differ(found, truth):
            return None
        boxes = [_box(box.xmin, box.ymin, box.xmax, box.ymax) for box in shapes]
        return [_box(*(box[name] for name in CORNERS)) for box in truth], boxes

    def _keep(self, kept: list[Annotation], label: str, shape: Annotation) -> None:
        label = self.spellings.of(label)
        number = self.numbers.setdefault(label, len(self.numbers) + 1)
        kept.append(
            shape
            | {
                "id": len(kept) + 1,
                "image_id": self.images,
                "category_id": number,
                "iscrowd": 0,
            }
        )

    def figures(self, *, whole: bool) -> Figures:
        if not self.images:
            return Figures(0, {})
        evaluated = self._evaluated()
        stats = [finite_or_none(stat) for stat in evaluated.stats]
        overall = {
            "map": _figure_or_none(stats[0]),
            "map_50": _figure_or_none(stats[1]),
            "map_75": _figure_or_none(stats[2]),
            "average_recall": _figure_or_none(stats[8]),
            **_at(evaluated, self.settings.threshold, None),
        }
        overall.pop("support")
        result = Figures(self.images, overall)
        result.notes.append(
            "Precision, recall and F1: a score of "
            f"{self.settings.threshold:g} or more, overlapping by half."
        )
        if self.left_out:
            result.notes.append(
                f"{self.left_out} rows are left out: more than {SHAPES_MOST} shapes."
            )
        if whole:
            self._by_label(result, evaluated)
        return result

    def _evaluated(self) -> COCOeval:
        categories = [{"id": n, "name": name} for name, n in self.numbers.items()]
        categories = categories or [{"id": 1, "name": ""}]
        size = {"height": GRID, "width": GRID}
        images = [{"id": n, **size} for n in range(1, self.images + 1)]
        with redirect_stdout(StringIO()):
            sides = []
            for annotations in (self.actual, self.found):
                side = COCO()
                side.dataset = {
                    "images": images,
                    "annotations": annotations,
                    "categories": categories,
                }
                side.createIndex()
                sides.append(side)
            kind = "segm" if self.of_masks else "bbox"
            evaluation = COCOeval(*sides, iouType=kind)
            evaluation.evaluate()
            evaluation.accumulate()
            evaluation.summarize()
        return evaluation

    def _by_label(self, result: Figures, evaluated: COCOeval) -> None:
        precision = evaluated.eval["precision"]
        rows = []
        for place, (label, number) in enumerate(
            sorted(self.numbers.items(), key=lambda pair: pair[1])
        ):
            of_label = precision[:, :, place, ALL, HUNDRED]
            rows.append(
                {
                    "label": label,
                    "map": _mean(of_label),
                    "map_50": _mean(of_label[0]),
                    **_at(evaluated, self.settings.threshold, number),
                }
            )
        result.by_label = show(rows, result.notes)
        wanted = self.spellings.known(self.settings.label)
        places = [self.numbers[wanted] - 1] if wanted in self.numbers else slice(None)
        curves = precision[0, :, places, ALL, HUNDRED]
        curves = curves.T if curves.shape[0] != 101 else curves
        known = curves[:, (curves > -1).all(axis=0)]
        if known.shape[1]:
            recall = evaluated.params.recThrs
            mean = known.mean(axis=1)
            result.curve = [
                (float(r), float(p)) for r, p in zip(recall, mean, strict=True)
            ]
            result.curve_label = wanted if wanted in self.numbers else ""


class Polygons(Boxes):
    """Figures of contours, compared as masks."""


CORNERS = ("xmin", "ymin", "xmax", "ymax")


def _box(xmin: float, ymin: float, xmax: float, ymax: float) -> Annotation:
    width, height = xmax - xmin, ymax - ymin
    return {"bbox": [xmin, ymin, width, height], "area": width * height}


def _masks(
    found: Sequence[Detection], truth: Sequence[dict[str, Any]]
) -> tuple[list[Annotation], list[Annotation]] | None:
    drawn = [c for one in found if (c := contours_of(one.shape)) is not None]
    if len(drawn) < len(found):
        return None
    actual = [contours_of_actual(each) for each in truth]
    made = [
        {
            "segmentation": each,
            "area": float(masks.area(each)),
            "bbox": masks.toBbox(each).tolist(),
        }
        for each in encode([*actual, *drawn])
    ]
    return made[: len(actual)], made[len(actual) :]


def _units_differ(found: Sequence[Detection], truth: Sequence[dict[str, Any]]) -> bool:
    shares = any(isinstance(o.shape, Box) and o.shape.normalised for o in found)
    return shares and any(max(abs(e["xmax"]), abs(e["ymax"])) > 1 for e in truth)


def _at(evaluated: COCOeval, threshold: float, number: int | None) -> dict[str, Any]:
    """Return precision, recall and F1 of answers from the threshold on, at an IoU of 0.5."""
    right = wrong = actual = 0
    smallest = evaluated.params.areaRng[ALL]
    for image in evaluated.evalImgs:
        if image is None or image["aRng"] != smallest:
            continue
        if number is not None and image["category_id"] != number:
            continue
        is_meant = np.asarray(image["dtScores"]) >= threshold
        is_right = np.asarray(image["dtMatches"][0]) > 0
        right += int((is_meant & is_right).sum())
        wrong += int((is_meant & ~is_right).sum())
        actual += len(image["gtIds"])
    precision = right / (right + wrong) if right + wrong else None
    recall = right / actual if actual else None
    f1 = 2 * right / (right + wrong + actual) if right + wrong + actual else None
    return {"precision": precision, "recall": recall, "f1": f1, "support": actual}


def _mean(precision: np.ndarray) -> float | None:
    known = precision[precision > -1]
    return finite_or_none(known.mean()) if known.size else None


def _figure_or_none(value: float | None) -> float | None:
    """Return COCO's figure, or None for its -1: there was nothing to find."""
    return None if value is None or value < 0 else value
