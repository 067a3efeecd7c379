"""Time series: a forecast, possibly with intervals and with what was known before."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from inferences.models import TaskType
from inferences.predictions.model_types.base import (
    PREDICTION,
    Column,
    Fact,
    Item,
    ModelType,
    Takes,
    number_fact,
)
from inferences.predictions.parsers import quantities
from inferences.predictions.parsers.values import Kind, Series


class TimeSeries(ModelType[Series]):
    task = TaskType.TIME_SERIES
    kind = Kind.TIME_SERIES
    takes = Takes.ROWS
    reader = staticmethod(quantities.read_series)
    content = Series
    forms = ("series",)
    columns = (
        Column("series", "[float]", "the values in the order of time"),
        Column("times", "[str]", "their times, when given"),
        Column("lower", "[float]", "where the interval of each begins, when given"),
        Column("upper", "[float]", "where the interval of each ends, when given"),
        Column("history", "[float]", "what was known when it was made"),
    )
    item = "step"
    title = "Forecast"

    def facts(self, content: Series) -> Iterator[Fact]:
        values = content.values
        yield number_fact(f"{PREDICTION}.min", min(values))
        yield number_fact(f"{PREDICTION}.max", max(values))
        mean = math.fsum(value / len(values) for value in values)
        yield number_fact(f"{PREDICTION}.mean", mean)
        yield number_fact(f"{PREDICTION}.last", values[-1])

    def values(self, content: Series) -> dict[str, Any]:
        return {
            "series": list(content.values),
            "times": list(content.times) or None,
            "lower": list(content.lower) or None,
            "upper": list(content.upper) or None,
            "history": list(content.before) or None,
        }

    def items(self, content: Series) -> list[Item]:
        blank = [None] * len(content.values)
        return [
            Item(
                None, value, {"time": time, "value": value, "lower": low, "upper": high}
            )
            for time, value, low, high in zip(
                content.times or blank,
                content.values,
                content.lower or blank,
                content.upper or blank,
                strict=True,
            )
        ]

    def summary(self, content: Series) -> str:
        count = len(content.values)
        steps = "step" if count == 1 else "steps"
        return f"{count} {steps}, the last {content.values[-1]:.6g}"
