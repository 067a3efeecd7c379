"""Bright round things (coins, stars, cells), found by differences of Gaussians."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter
from skimage.feature import blob_dog

from demo.models.base import described, pictures
from demo.v2 import Tensor

LONGEST_SIDE = 400
RATIO = 1.6
SMALLEST_SIGMA, LARGEST_SIGMA = 2.0, 34.0
SHARED_AT_MOST = 0.2  # of a blob, with a larger one
MINIMUM_RESPONSE = 0.1
MOST = 60
LARGE = 12.0  # radius in pixels of the picture as sent

# In the middle of a bright disc of radius r the difference of two Gaussians answers
# (exp(-u / RATIO²) - exp(-u)) / (RATIO - 1) times its contrast, u = r² / (2 sigma²).
# That is largest at this u, which gives the radius that belongs to a sigma and the
# response that a disc of full contrast has.
BEST_U = 2 * np.log(RATIO) / (1 - RATIO**-2)
RADIUS_PER_SIGMA = float(np.sqrt(2 * BEST_U))
FULL_RESPONSE = float((np.exp(-BEST_U / RATIO**2) - np.exp(-BEST_U)) / (RATIO - 1))


class BlobDetector:
    """One BYTES output of JSON objects; for several pictures, one each, numbered."""

    name = "blob-detector"
    platform = "scikit-image blob_dog"
    inputs = [described("image", "BYTES", -1)]
    outputs = [described("detections", "BYTES", -1)]

    def infer(self, inputs: list[Tensor]) -> list[Tensor]:
        found = [blobs(picture) for picture in pictures(inputs)]
        names = [f"detections-{n}" for n in range(len(found))]
        if len(found) == 1:
            names = ["detections"]
        return [
            Tensor(name, "BYTES", (len(each),), [json.dumps(blob) for blob in each])
            for name, each in zip(names, found, strict=True)
        ]


def blobs(picture: Image.Image) -> list[dict[str, Any]]:
    """The blobs, best first, with boxes in pixels that end at the picture's edge.

    The score is the blob's response as a share of what an ideal disc of full contrast
    (white on black) gives: of a clean disc it is its contrast.
    """
    grey = picture.convert("L")
    grey.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
    scale = picture.width / grey.width
    values = np.asarray(grey) / 255.0
    found = blob_dog(
        values,
        min_sigma=SMALLEST_SIGMA,
        max_sigma=LARGEST_SIGMA,
        sigma_ratio=RATIO,
        threshold=MINIMUM_RESPONSE,
        overlap=SHARED_AT_MOST,
    )
    scored = zip(found, responses(values, found), strict=True)
    best = sorted(scored, key=lambda each: each[1], reverse=True)[:MOST]
    return [
        _blob(
            *(blob[0] * scale, blob[1] * scale, blob[2] * scale),
            min(1.0, response / FULL_RESPONSE),
            picture.size,
        )
        for blob, response in best
    ]


def responses(values: np.ndarray, found: np.ndarray) -> np.ndarray:
    """The response of each blob at its place and scale; ``blob_dog`` drops it."""
    result = np.zeros(len(found))
    rows, columns = found[:, 0].astype(int), found[:, 1].astype(int)
    for sigma in np.unique(found[:, 2]):
        own = found[:, 2] == sigma
        inner, outer = (
            gaussian_filter(values, sigma),
            gaussian_filter(values, sigma * RATIO),
        )
        at = (rows[own], columns[own])
        result[own] = (inner[at] - outer[at]) / (RATIO - 1)
    return result


def _blob(
    y: float, x: float, sigma: float, score: float, size: tuple[int, int]
) -> dict[str, Any]:
    radius = sigma * RADIUS_PER_SIGMA
    return {
        "label": "large" if radius >= LARGE else "small",
        "score": round(float(score), 4),
        "xmin": round(float(max(x - radius, 0)), 1),
        "ymin": round(float(max(y - radius, 0)), 1),
        "xmax": round(float(min(x + radius, size[0])), 1),
        "ymax": round(float(min(y + radius, size[1])), 1),
    }
