"""Masks as pixels: a class number for each pixel, one plane for each class, or a PNG."""

from __future__ import annotations

import base64
import binascii
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image

from inferences.predictions.parsers.context import Context
from inferences.predictions.parsers.values import Deconstructed, Detection, Kind, Mask
from protocols.json_text import without_batch

PIXELS_MAX = 50_000_000
CLASSES_MAX = 1000
IGNORED = 255  # "no class" in the masks of Pascal VOC, Cityscapes and similar data sets
BACKGROUND = {"background", "_background_", "__background__", "void", "unlabeled"}
PNG_IN_BASE64 = "iVBORw0KGgo"


def read(value: Any, context: Context) -> Deconstructed | None:
    """Return one mask for each class in the answer of a segmentation model, or None."""
    if context.kind is not Kind.IMAGE_SEGMENTATION:
        return None
    pixels = _classes(without_batch(value), context)
    if pixels is None:
        return None
    found, left_out = [], []
    for place in np.unique(pixels).tolist():
        label = _label(place, context)
        if label:
            found.append(Detection(label, None, mask_of(pixels == place)))
        elif label is None:
            left_out.append(str(place))
    warnings = []
    if left_out:
        numbers = ", ".join(left_out[:10])
        warnings.append(f"The mask has pixels of classes without a label: {numbers}.")
    return Deconstructed(
        Kind.IMAGE_SEGMENTATION, found, understood=True, warnings=warnings
    )


def mask_of(pixels: np.ndarray) -> Mask:
    """Return COCO's run lengths of an array of booleans.

    Runs go column by column; the first one is outside the mask.
    """
    height, width = pixels.shape
    flat = np.asarray(pixels, dtype=bool).ravel(order="F")
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    edges = np.concatenate(([0], changes, [flat.size]))
    runs = np.diff(edges).tolist()
    if flat[0]:
        runs.insert(0, 0)
    return Mask(tuple(runs), height, width)


def mask_of_rows(value: Any) -> Mask | None:
    """Return the mask of rows of zeros and ones, one number per pixel, or None."""
    pixels = _plane(value)
    if pixels is None or pixels.ndim != 2 or not np.isin(pixels, (0, 1)).all():
        return None
    return mask_of(pixels != 0)


def mask_of_png(text: Any) -> Mask | None:
    """Return the mask of a PNG in base64, as pipelines of Hugging Face answer, or None.

    Pixels that are not black are inside. In a picture with transparent pixels, the visible
    pixels are inside.
    """
    if not isinstance(text, str):
        return None
    text = text.rpartition("base64,")[2] if text.startswith("data:") else text
    if not text.startswith(PNG_IN_BASE64):
        return None
    try:
        content = base64.b64decode(text, validate=True)
        with Image.open(BytesIO(content), formats=("PNG",)) as image:
            if image.width * image.height > PIXELS_MAX:
                return None
            if image.has_transparency_data:
                seen = np.asarray(image.convert("RGBA").getchannel("A")) != 0
                if not seen.all():
                    return mask_of(seen)
            plane = image.convert("L") if image.mode != "1" else image
            return mask_of(np.asarray(plane) != 0)
    except (binascii.Error, OSError, ValueError, SyntaxError):
        return None


def _classes(value: Any, context: Context) -> np.ndarray | None:
    """Return the class number of each pixel, ``[height, width]``, or None for another form."""
    pixels = _plane(value)
    if pixels is None:
        return None
    if pixels.ndim == 3:  # one plane of scores for each class
        classes, first = len(context.class_labels), context.first_class_number
        if 1 < len(pixels) == classes:
            return np.asarray(pixels.argmax(axis=0) + first)
        if classes and len(pixels) == classes + first:  # and one for the background
            return np.asarray(pixels.argmax(axis=0))
        return None
    if pixels.ndim != 2:
        return None
    if pixels.dtype.kind == "b":
        pixels = pixels.astype(np.int64)
    if pixels.dtype.kind == "f":
        if not (np.isfinite(pixels).all() and (pixels == np.floor(pixels)).all()):
            return None
        pixels = pixels.astype(np.int64)
    if context.only_label is not None and pixels.max() <= 1:
        # With a single class, 1 is inside and 0 outside, whatever the first class number is.
        return np.where(pixels == 1, context.first_class_number, IGNORED)
    if pixels.min() < 0 or len(np.unique(pixels)) > CLASSES_MAX:
        return None
    return pixels


def _plane(value: Any) -> np.ndarray | None:
    """Return an array of numbers in equal rows, at least two by two, or None."""
    if not isinstance(value, list) or not value or not isinstance(value[0], list):
        return None
    try:
        pixels = np.asarray(value)
    except (ValueError, OverflowError):  # rows of unequal length
        return None
    if pixels.dtype.kind not in "iubf" or pixels.ndim not in (2, 3):
        return None
    if min(pixels.shape[-2:]) < 2 or pixels.size > PIXELS_MAX:
        return None
    return pixels


def _label(place: int, context: Context) -> str | None:
    """Return the label of a class number; "" for no class, and None for an unknown number."""
    if place == IGNORED and place >= context.first_class_number + len(
        context.class_labels
    ):
        return ""
    if not context.class_labels:
        return str(place) if place else ""
    if not context.has_class(place):
        return "" if place == 0 else None
    label = context.label(place)
    is_background = label is not None and label.casefold() in BACKGROUND
    return "" if is_background else label
