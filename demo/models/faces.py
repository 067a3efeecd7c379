"""Faces, found by the local binary pattern cascade that comes with scikit-image."""

from __future__ import annotations

from dataclasses import dataclass
from math import exp
from typing import Any

import numpy as np
from PIL import Image
from skimage.data import lbp_frontal_face_cascade_filename
from skimage.feature import Cascade

from demo.models.base import described, pictures
from demo.v2 import Tensor

LONGEST_SIDE = 512
SMALLEST_SHARE = 10  # of the longer side; half the size takes four times as long
WINDOW = 24  # of the cascade, in pixels
Window = tuple[int, int, int, int]  # ymin, xmin, ymax, xmax
SAME_FACE = 0.5  # intersection over union
MINIMUM_SUPPORT = 4
SUPPORT_SCALE = 10.0


@dataclass(frozen=True, slots=True)
class Face:
    """A box ``[ymin, xmin, ymax, xmax]`` in pixels, and how many windows found it."""

    box: tuple[float, float, float, float]
    support: int

    @property
    def score(self) -> float:
        """``1 - exp(-support / 10)``: rises with the evidence, and is no probability.

        The cascade itself says yes or no to one window. A face is found again in
        windows a little beside it and a little larger (10 to 60 of them), a chance
        pattern is not (1 to 6): the number of windows that agree tells them apart.
        """
        return 1 - exp(-self.support / SUPPORT_SCALE)


class FaceDetector:
    """One answer per picture; of several pictures the rows are filled up with zeros."""

    name = "face-detector"
    platform = "scikit-image Cascade"
    inputs = [described("image", "BYTES", -1)]
    outputs = [
        described("detection_boxes", "FP32", -1, 4),
        described("detection_classes", "BYTES", -1),
        described("detection_scores", "FP32", -1),
        described("num_detections", "INT32", -1),
    ]

    def __init__(self) -> None:
        self._cascade = Cascade(lbp_frontal_face_cascade_filename())

    def infer(self, inputs: list[Tensor]) -> list[Tensor]:
        found = [self.faces(picture) for picture in pictures(inputs)]
        longest = max(map(len, found))
        boxes = np.zeros((len(found), longest, 4), np.float32)
        scores = np.zeros((len(found), longest), np.float32)
        classes: list[Any] = []
        for n, faces in enumerate(found):
            boxes[n, : len(faces)] = np.reshape([face.box for face in faces], (-1, 4))
            scores[n, : len(faces)] = [face.score for face in faces]
            classes += ["face"] * len(faces) + [""] * (longest - len(faces))
        rows = (longest,) if len(found) == 1 else (len(found), longest)
        counts = np.array(list(map(len, found)), np.int32)
        return [
            Tensor("detection_boxes", "FP32", (*rows, 4), boxes.reshape(-1)),
            Tensor("detection_classes", "BYTES", rows, classes),
            Tensor("detection_scores", "FP32", rows, scores.reshape(-1)),
            Tensor("num_detections", "INT32", (len(found),), counts),
        ]

    def faces(self, picture: Image.Image) -> list[Face]:
        """The faces, best first, down to a tenth of the picture's longer side."""
        width, height = picture.size
        grey = picture.convert("L")
        grey.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
        scale = np.array([height / grey.height, width / grey.width] * 2)
        groups = grouped(self._windows(np.asarray(grey) / 255.0))
        faces = [
            Face(tuple((np.mean(group, axis=0) * scale).tolist()), len(group))
            for group in groups
            if len(group) >= MINIMUM_SUPPORT
        ]
        return sorted(faces, key=lambda face: face.support, reverse=True)

    def _windows(self, grey: np.ndarray) -> list[tuple[int, int, int, int]]:
        """Every window the cascade says yes to.

        A threshold no overlap can reach keeps the library from grouping them itself: its
        groups do not tell how many windows they are made of.
        """
        longest = min(grey.shape)
        smallest = max(WINDOW, max(grey.shape) // SMALLEST_SHARE)
        if longest < smallest:
            return []
        windows = self._cascade.detect_multi_scale(
            grey,
            scale_factor=1.1,
            step_ratio=1,
            min_size=(smallest, smallest),
            max_size=(longest, longest),
            min_neighbor_number=1,
            intersection_score_threshold=2.0,
        )
        return sorted(
            (
                window["r"],
                window["c"],
                window["r"] + window["height"],
                window["c"] + window["width"],
            )
            for window in windows
        )


def grouped(windows: list[Window]) -> list[list[Window]]:
    """Windows together with those they overlap; each goes to the first that fits."""
    groups: list[list[Window]] = []
    for window in windows:
        for group in groups:
            if overlap(np.mean(group, axis=0), window) > SAME_FACE:
                group.append(window)
                break
        else:
            groups.append([window])
    return groups


def overlap(one: Any, other: Any) -> float:
    """Intersection over union of two boxes ``ymin, xmin, ymax, xmax``."""
    height = min(one[2], other[2]) - max(one[0], other[0])
    width = min(one[3], other[3]) - max(one[1], other[1])
    shared = max(height, 0) * max(width, 0)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return float(shared / (sum(areas) - shared))
