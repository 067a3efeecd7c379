from __future__ import annotations

import io
from typing import Any, Protocol

from PIL import Image, UnidentifiedImageError

from demo.v2 import Tensor, V2Error

MAX_PIXELS = 16_000_000


class Model(Protocol):
    """A model that can be asked. ``inputs`` and ``outputs`` are its V2 metadata."""

    name: str
    platform: str
    inputs: list[dict[str, Any]]
    outputs: list[dict[str, Any]]

    def infer(self, inputs: list[Tensor]) -> list[Tensor]:
        """The outputs. Runs in several threads at once; bad inputs raise V2Error."""


def described(name: str, datatype: str, *shape: int) -> dict[str, Any]:
    """A tensor in a model's metadata; -1 is any length."""
    return {"name": name, "datatype": datatype, "shape": list(shape)}


def pictures(inputs: list[Tensor]) -> list[Image.Image]:
    """Every element of every input, opened as a picture."""
    opened = [_picture(tensor, item) for tensor in inputs for item in tensor.values]
    if not opened:
        raise V2Error("There is no picture among the inputs.")
    return opened


def _picture(tensor: Tensor, data: Any) -> Image.Image:
    if not isinstance(data, bytes):
        raise V2Error(
            f"Input {tensor.name!r} must be BYTES, a picture file in each element."
        )
    try:
        picture = Image.open(io.BytesIO(data))
        if picture.width * picture.height > MAX_PIXELS:
            raise V2Error(
                f"The picture in {tensor.name!r} has more than {MAX_PIXELS} pixels."
            )
        picture.load()
    except (
        UnidentifiedImageError,
        Image.DecompressionBombError,
        OSError,
        SyntaxError,
    ) as error:
        raise V2Error(
            f"Input {tensor.name!r} holds no readable picture: {error}."
        ) from None
    return picture
