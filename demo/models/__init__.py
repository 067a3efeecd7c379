"""The models, one module each. ``load()`` trains or reads them all."""

from __future__ import annotations

from demo.models.base import Model
from demo.models.blobs import BlobDetector
from demo.models.digits import DigitClassifier, DigitEmbedder, train
from demo.models.faces import FaceDetector
from demo.models.wine import WineClassifier

__all__ = ["Model", "load"]


def load() -> dict[str, Model]:
    """All models by name. Takes about a second, most of it training on the digits."""
    network = train()
    models: list[Model] = [
        FaceDetector(),
        BlobDetector(),
        DigitClassifier(network),
        DigitEmbedder(network),
        WineClassifier(),
    ]
    return {model.name: model for model in models}
