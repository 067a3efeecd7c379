"""Turn the input of a model into one tensor of the Open Inference Protocol (V2)."""

from __future__ import annotations

import base64
import io
import math
import os
from collections.abc import Sequence
from typing import Any

# The modes that PNG can hold; a picture of another mode is converted to RGB.
PNG_MODES = frozenset({"1", "L", "LA", "I", "I;16", "P", "RGB", "RGBA"})


def input_tensor(data: Any) -> dict[str, Any]:
    """Return the tensor: bytes, files and images as BYTES in base64, numbers as FP64.

    Raises ``FileNotFoundError`` if a path has no file, ``ValueError`` for numbers that are
    not finite or have ragged dimensions, and ``TypeError`` for any other type.
    """
    if isinstance(data, (bytes, bytearray, memoryview)):
        return _bytes_tensor(bytes(data))
    if isinstance(data, (str, os.PathLike)):
        return _bytes_tensor(_file(data))
    if hasattr(data, "save") and hasattr(data, "mode"):
        return _bytes_tensor(_png(data))
    if hasattr(data, "tolist") and hasattr(data, "shape"):
        return _number_tensor(data.tolist())
    if isinstance(data, (list, tuple)):
        return _number_tensor(data)
    raise TypeError(
        f"A {type(data).__name__} cannot be sent; use bytes, a path, an image, an array "
        "or a list of numbers."
    )


def _bytes_tensor(content: bytes) -> dict[str, Any]:
    return {
        "name": "input-0",
        "shape": [1],
        "datatype": "BYTES",
        "parameters": {"content_type": "base64"},
        "data": [base64.b64encode(content).decode("ascii")],
    }


def _number_tensor(numbers: Any) -> dict[str, Any]:
    shape, flat = _flatten(numbers)
    return {
        "name": "input-0",
        "shape": shape,
        "datatype": "FP64",
        "parameters": {},
        "data": flat,
    }


def _file(path: str | os.PathLike[str]) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError as error:
        hint = "is no file; send a text as its bytes (text.encode())"
        raise FileNotFoundError(error.errno, hint, os.fspath(path)) from None


def _png(image: Any) -> bytes:
    buffer = io.BytesIO()
    if image.mode not in PNG_MODES:
        image = image.convert("RGB")
    image.save(buffer, format="PNG")
    return buffer.getvalue()


def _flatten(numbers: Any) -> tuple[list[int], list[float]]:
    """Return the shape, and the numbers in row-major order."""
    if not isinstance(numbers, (list, tuple)):
        return [], [_number(numbers)]
    if not numbers or not any(isinstance(part, (list, tuple)) for part in numbers):
        return [len(numbers)], [_number(part) for part in numbers]
    parts: Sequence[tuple[list[int], list[float]]] = [
        _flatten(part) for part in numbers
    ]
    shapes = [shape for shape, _ in parts]
    if any(shape != shapes[0] for shape in shapes):
        raise ValueError("The lists of numbers have different lengths.")
    return [len(parts), *shapes[0]], [number for _, flat in parts for number in flat]


def _number(value: Any) -> float:
    if isinstance(value, str):
        raise TypeError("A list of texts cannot be sent; use bytes, one input a call.")
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"{value} is not a finite number.")
    return number
