"""Handwritten digits: one small network, asked for classes or for vectors.

The data set and the network are scikit-learn's.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

from demo.models.base import described, pictures
from demo.v2 import Tensor, V2Error

SIDE = 8
WHITE = 16.0  # the brightest value in the data set
EMBEDDING_SIZE = 16
LABELS = [str(digit) for digit in range(10)]

Split = tuple[np.ndarray, np.ndarray]


@cache
def splits() -> tuple[Split, Split]:
    """Training and held-out digits: rows of 64 values 0 to 16, and their classes."""
    rows, digits = load_digits(return_X_y=True)
    for_training, held_out, *classes = train_test_split(
        rows, digits, test_size=0.3, random_state=0, stratify=digits
    )
    return (for_training, classes[0]), (held_out, classes[1])


def train() -> MLPClassifier:
    """The network, trained on the training split alone; the same one every time."""
    (rows, digits), _ = splits()
    network = MLPClassifier(
        (64, EMBEDDING_SIZE), activation="tanh", max_iter=500, random_state=0
    )
    return network.fit(rows / WHITE, digits)


class DigitClassifier:
    """The probability of each of the ten digits."""

    name = "digit-classifier"
    platform = "scikit-learn MLPClassifier"
    inputs = [described("image", "BYTES", -1)]
    outputs = [described("predict_proba", "FP64", -1, 10)]

    def __init__(self, network: MLPClassifier) -> None:
        self._network = network

    def infer(self, inputs: list[Tensor]) -> list[Tensor]:
        shares = self._network.predict_proba(rows_of(inputs))
        return [Tensor("predict_proba", "FP64", shares.shape, shares.reshape(-1))]


class DigitEmbedder:
    """The activations of the network's last hidden layer: 16 numbers from -1 to 1."""

    name = "digit-embedder"
    platform = "scikit-learn MLPClassifier"
    inputs = [described("image", "BYTES", -1)]
    outputs = [described("embedding", "FP32", -1, EMBEDDING_SIZE)]

    def __init__(self, network: MLPClassifier) -> None:
        self._network = network

    def infer(self, inputs: list[Tensor]) -> list[Tensor]:
        layer = rows_of(inputs)
        hidden = zip(
            self._network.coefs_[:-1], self._network.intercepts_[:-1], strict=True
        )
        for weights, bias in hidden:
            layer = np.tanh(layer @ weights + bias)
        vectors = layer.astype(np.float32)
        return [Tensor("embedding", "FP32", vectors.shape, vectors.reshape(-1))]


def rows_of(inputs: list[Tensor]) -> np.ndarray:
    """Rows of 64 values 0 to 1, from pictures (bright on dark) or numbers 0 to 16."""
    if any(tensor.datatype == "BYTES" for tensor in inputs):
        return np.array([_row(picture) for picture in pictures(inputs)])
    values = [np.asarray(tensor.values, np.float64) for tensor in inputs]
    if any(len(value) == 0 or len(value) % SIDE**2 for value in values):
        raise V2Error("Digits are pictures, or numbers in the shape [n, 64].")
    rows = np.concatenate(values).reshape(-1, SIDE**2) / WHITE
    if not ((rows >= 0) & (rows <= 1)).all():
        raise V2Error(f"The numbers of a digit lie between 0 and {WHITE:g}.")
    return rows


def _row(picture: Image.Image) -> np.ndarray:
    small = picture.convert("L").resize((SIDE, SIDE), Image.Resampling.BOX)
    return np.asarray(small, np.float64).reshape(-1) / 255
