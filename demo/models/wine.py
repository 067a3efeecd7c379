"""Three cultivars of wine, told by thirteen chemical measurements."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import numpy as np
from sklearn.datasets import load_wine
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from demo.models.base import described
from demo.v2 import Tensor, V2Error

COLUMNS = tuple(load_wine().feature_names)
LABELS = [str(name) for name in load_wine().target_names]

Split = tuple[np.ndarray, np.ndarray]


@cache
def splits() -> tuple[Split, Split]:
    """Training and held-out wines: rows of thirteen numbers, and their classes."""
    rows, cultivars = load_wine(return_X_y=True)
    for_training, held_out, *classes = train_test_split(
        rows, cultivars, test_size=0.4, random_state=0, stratify=cultivars
    )
    return (for_training, classes[0]), (held_out, classes[1])


def train() -> Pipeline:
    (rows, cultivars), _ = splits()
    return make_pipeline(StandardScaler(), LogisticRegression()).fit(rows, cultivars)


class WineClassifier:
    """The probability of each cultivar.

    ``parameters.columns`` of the input, a JSON list of names, may give the columns in
    another order than the data set's.
    """

    name = "wine-classifier"
    platform = "scikit-learn LogisticRegression"
    inputs = [described("features", "FP64", -1, len(COLUMNS))]
    outputs = [described("predict_proba", "FP64", -1, len(LABELS))]

    def __init__(self) -> None:
        self._pipeline = train()

    def infer(self, inputs: list[Tensor]) -> list[Tensor]:
        shares = self._pipeline.predict_proba(
            np.concatenate(list(map(rows_of, inputs)))
        )
        return [Tensor("predict_proba", "FP64", shares.shape, shares.reshape(-1))]


def rows_of(tensor: Tensor) -> np.ndarray:
    """The rows in the order of the data set's columns."""
    if tensor.datatype == "BYTES" or tensor.shape[-1:] != (len(COLUMNS),):
        raise V2Error(f"Wines are numbers in the shape [n, {len(COLUMNS)}].")
    rows = np.asarray(tensor.values, np.float64).reshape(-1, len(COLUMNS))
    if not len(rows) or not np.isfinite(rows).all():
        raise V2Error("Wines are at least one row of finite numbers.")
    return rows[:, _order(tensor.parameters.get("columns"))]


def _order(columns: object) -> list[int]:
    if columns is None:
        return list(range(len(COLUMNS)))
    try:
        names: Any = json.loads(columns) if isinstance(columns, str) else columns
        if sorted(names) == sorted(COLUMNS):
            return [names.index(name) for name in COLUMNS]
    except (ValueError, TypeError):
        pass
    raise V2Error(
        f"'columns' must be a JSON list of these names: {', '.join(COLUMNS)}."
    )
