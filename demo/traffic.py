"""What the demonstration asks its models. A seed gives the same again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Any
from uuid import UUID

import numpy as np

from demo import pictures
from demo.models import digits, wine
from demo.v2 import HEADER_LENGTH, Tensor, write_message

CAMERAS = ("north", "south", "gate", "mast")
# Name, latitude, longitude.
HARBOURS = (
    ("Rotterdam", 51.951, 4.142),
    ("Hamburg", 53.541, 9.966),
    ("Valencia", 39.449, -0.317),
    ("Piraeus", 37.943, 23.622),
    ("Singapore", 1.264, 103.822),
    ("Sydney", -33.858, 151.182),
)
# Of a hundred requests, how many go to which model.
SHARES = {
    "face-detector": 50,
    "blob-detector": 16,
    "digit-classifier": 14,
    "digit-embedder": 10,
    "wine-classifier": 10,
}
SEVERAL = 3  # images in one request, of one request in eight
Item = dict[str, str]

MODELS: tuple[dict[str, Any], ...] = (
    {
        "model_id": "face-detector",
        "task_type": "Object Detection",
        "class_labels": ["face"],
    },
    {
        "model_id": "blob-detector",
        "task_type": "Object Detection",
        "class_labels": ["small", "large"],
    },
    {
        "model_id": "digit-classifier",
        "task_type": "Image Classification",
        "class_labels": digits.LABELS,
    },
    {
        "model_id": "digit-embedder",
        "task_type": "Image Embedding",
        "embedding_size": digits.EMBEDDING_SIZE,
    },
    {
        "model_id": "wine-classifier",
        "task_type": "Tabular Classification",
        "class_labels": wine.LABELS,
    },
)


@dataclass(frozen=True, slots=True)
class Call:
    """One request to one model, which asks for ``parts`` inferences.

    ``path`` is that of the proxy; empty is a call of the open inference protocol. An answer with
    an error status is shown as it is where the call ``is_refusable``.
    """

    model_id: str
    body: bytes
    headers: dict[str, str]
    parts: int
    path: str = ""
    is_refusable: bool = False


def calls(count: int, seed: int, run: UUID) -> Iterator[Call]:
    """That many calls. ``run`` goes into the ids: a second run is other requests."""
    random = Random(seed)
    models, weights = list(SHARES), list(SHARES.values())
    for frame in range(count):
        # The first few go to each model in turn: a short run still shows them all.
        model_id = models[frame] if frame < len(models) else None
        (drawn,) = random.choices(models, weights)
        yield call(random, model_id or drawn, frame, run)


def call(random: Random, model_id: str, frame: int, run: UUID) -> Call:
    """One call, JSON or binary, some with an id of the sender and some without."""
    inputs, action = INPUTS[model_id](random, frame)
    document: dict[str, Any] = {"parameters": {"inference_action": action}}
    if random.random() < 0.5:
        document["id"] = f"{model_id}-{run.hex[:8]}-{frame:05}"
    is_binary = random.random() < 0.5
    body, header_length = write_message(
        document, "inputs", [(tensor, is_binary) for tensor in inputs]
    )
    if header_length is None:
        headers = {"Content-Type": "application/json"}
    else:
        headers = {
            "Content-Type": "application/octet-stream",
            HEADER_LENGTH: str(header_length),
        }
    parts = len(inputs)
    return Call(model_id, body, headers, parts)


def face_inputs(random: Random, frame: int) -> tuple[list[Tensor], str]:
    return picture_inputs(random, frame, pictures.for_faces), "detect"


def blob_inputs(random: Random, frame: int) -> tuple[list[Tensor], str]:
    return picture_inputs(random, frame, pictures.for_blobs), "detect"


def picture_inputs(random: Random, frame: int, make: pictures.Maker) -> list[Tensor]:
    """One picture as ``image``, or several of one place as ``image-0``, ``image-1`` …"""
    place = placed(random)
    if random.random() >= 1 / 8:
        return [picture_input("image", make(random), frame, place)]
    return [
        picture_input(f"image-{n}", make(random), frame, place) for n in range(SEVERAL)
    ]


def picture_input(
    name: str, picture: pictures.Picture, frame: int, place: list[Item]
) -> Tensor:
    left, top, right, bottom = picture.crop
    crop = {"x": left, "y": top, "width": right - left, "height": bottom - top}
    own = [
        item("frame", "int", frame),
        item("gain", "float", picture.gain),
        item("brightness", "float", round(picture.brightness, 4)),
        item("picture", "string", picture.source),
        item("view", "json", {"crop": crop, "flipped": picture.is_flipped}),
    ]
    parameters = {"metadata": json.dumps(own + place)}
    return Tensor(name, "BYTES", (1,), [picture.encoded()], parameters)


def digit_inputs(random: Random, frame: int) -> tuple[list[Tensor], str]:
    """A held-out digit: a picture, or in one of five requests its 64 numbers."""
    return [digit_input(random, frame, random.random() < 0.2)], "predict_proba"


def embedder_inputs(random: Random, frame: int) -> tuple[list[Tensor], str]:
    return [digit_input(random, frame, False)], "embed"


def digit_input(random: Random, frame: int, as_numbers: bool) -> Tensor:
    rows, classes = digits.splits()[1]
    n = random.randrange(len(rows))
    own = [
        item("frame", "int", frame),
        item("truth", "int", int(classes[n])),
        item("ink", "float", round(float(rows[n].mean() / digits.WHITE), 4)),
        item("split", "json", {"name": "held-out", "row": n}),
    ]
    parameters = {"metadata": json.dumps(own + placed(random))}
    if as_numbers:
        values = rows[n].astype(np.float32)
        return Tensor("image", "FP32", (1, len(values)), values, parameters)
    whole = pictures.digit(rows[n])
    encoded = pictures.Picture("digits", whole, (0, 0, *whole.size)).encoded()
    return Tensor("image", "BYTES", (1,), [encoded], parameters)


def wine_inputs(random: Random, frame: int) -> tuple[list[Tensor], str]:
    """A wine of the held-out split, its columns named."""
    rows, classes = wine.splits()[1]
    n = random.randrange(len(rows))
    own = [
        item("frame", "int", frame),
        item("truth", "string", wine.LABELS[classes[n]]),
        item("alcohol", "float", float(rows[n][0])),
        item("split", "json", {"name": "held-out", "row": n}),
    ]
    parameters = {
        "metadata": json.dumps(own + placed(random)),
        "columns": json.dumps(wine.COLUMNS),
    }
    tensor = Tensor("features", "FP64", (1, len(wine.COLUMNS)), rows[n], parameters)
    return [tensor], "predict_proba"


INPUTS = {
    "face-detector": face_inputs,
    "blob-detector": blob_inputs,
    "digit-classifier": digit_inputs,
    "digit-embedder": embedder_inputs,
    "wine-classifier": wine_inputs,
}


def placed(random: Random) -> list[Item]:
    """Where it was taken: a camera at one of a few harbours, now and then unknown."""
    camera = random.choice(CAMERAS)
    name, latitude, longitude = random.choice(HARBOURS)
    berth = random.randint(1, 4)
    items = [
        item("camera", "string", camera),
        item("site", "json", {"name": name, "berth": berth}),
        item("data_source", "string", f"quay-{berth}"),
    ]
    if random.random() < 0.9:
        items += [
            item("latitude", "float", round(latitude + random.gauss(0, 0.01), 6)),
            item("longitude", "float", round(longitude + random.gauss(0, 0.01), 6)),
        ]
    return items


def item(key: str, kind: str, value: Any) -> Item:
    """One item of metadata; the value always travels as text."""
    text = json.dumps(value) if kind == "json" else str(value)
    return {"key": key, "type": kind, "value": text}
