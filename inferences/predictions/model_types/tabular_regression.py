"""Tabular regression: one number, possibly with the interval in which it is expected."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from inferences.models import TaskType
from inferences.predictions.model_types.base import (
    PREDICTION,
    Column,
    Fact,
    ModelType,
    Takes,
    number_fact,
)
from inferences.predictions.parsers import quantities
from inferences.predictions.parsers.values import Kind, Quantity


class TabularRegression(ModelType[Quantity]):
    task = TaskType.TABULAR_REGRESSION
    kind = Kind.REGRESSION
    takes = Takes.ROWS
    is_tabular = True
    reader = staticmethod(quantities.read_quantity)
    content = Quantity
    forms = ("value",)
    columns = (
        Column("value", "float", "the number"),
        Column("lower", "float", "where its interval begins"),
        Column("upper", "float", "where its interval ends"),
    )
    item = ""
    title = "Prediction"
    mocks = ("tabular-regression",)

    def facts(self, content: Quantity) -> Iterator[Fact]:
        yield number_fact(PREDICTION, content.value)

    def values(self, content: Quantity) -> dict[str, Any]:
        return {
            "value": content.value,
            "lower": content.lower,
            "upper": content.upper,
        }

    def summary(self, content: Quantity) -> str:
        return f"{content.value:.6g}"
