"""Mocks for tables: classification and regression by the features of a row."""

from __future__ import annotations

import math
from typing import Any

from pydantic import Field

from inference_store.mocks.base import (
    NUMBER,
    SCORE,
    TEXT,
    BadRequest,
    Mock,
    Options,
    interface,
    members,
)
from inference_store.mocks.pictures import LabelOptions, rank

MAX_FEATURES = 10_000


class _TableMock(Mock):
    """Takes ``{"features"}``: an object of numbers and texts, or a list of numbers.

    Each feature has a weight of its own, so similar rows have similar answers.
    """

    takes = "features"

    def _weigh(self, request: dict[str, Any], output: str) -> float:
        features = _features(request)
        weighted = [
            self.dice(output, name, value).gauss(0, 1)
            if isinstance(value, str)
            else self.dice(output, name).gauss(0, 1) * math.tanh(value / 10) * 3
            for name, value in features.items()
        ]
        return math.fsum(weighted) / math.sqrt(len(weighted))


class TabularClassification(_TableMock):
    """Classifies a row: a list of ``{"label", "score"}``, best first."""

    name = "tabular-classification"
    title = "Tabular classification"
    interface = interface("predict", members(label=TEXT, score=SCORE))

    class Options(LabelOptions):
        labels: list[str] = Field(
            ["on time", "late", "cancelled"], min_length=1, max_length=1000
        )

    options: Options

    def answer(self, request: dict[str, Any]) -> list[dict[str, Any]]:
        return rank(
            {label: self._weigh(request, label) for label in self.options.labels}
        )


class TabularRegression(_TableMock):
    """Predicts a number with its 90 % interval: ``[{"value", "lower", "upper"}]``."""

    name = "tabular-regression"
    title = "Tabular regression"
    interface = interface("predict", members(value=NUMBER, lower=NUMBER, upper=NUMBER))

    class Options(Options):
        mean: float = Field(100.0, ge=-1e12, le=1e12)
        deviation: float = Field(20.0, gt=0, le=1e12)

    options: Options

    def answer(self, request: dict[str, Any]) -> list[dict[str, Any]]:
        deviation = self.options.deviation
        value = self.options.mean + deviation * self._weigh(request, "value")
        unsure = 1.645 * deviation * self.dice(_features(request)).uniform(0.1, 0.5)
        return [{"value": value, "lower": value - unsure, "upper": value + unsure}]


def _features(request: dict[str, Any]) -> dict[str, float | str]:
    given = request.get("features")
    if isinstance(given, list):
        given = {str(number): value for number, value in enumerate(given)}
    if not isinstance(given, dict) or not 1 <= len(given) <= MAX_FEATURES:
        raise BadRequest("'features' is an object, or a list of numbers.")
    features: dict[str, float | str] = {}
    for name, value in given.items():
        if isinstance(value, str):
            features[str(name)] = value
        elif value is None:
            features[str(name)] = 0.0
        elif isinstance(value, (bool, int, float)) and abs(value) < 1e300:  # no NaN
            features[str(name)] = float(value)
        else:
            raise BadRequest(f"The feature {name!r:.60} is a number or a text.")
    return features
