"""Several outputs of one model, each a number or a text with a name."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

from inferences.models import MetadataType, TaskType
from inferences.predictions.model_types.base import (
    PREDICTION,
    Column,
    Fact,
    Item,
    ModelType,
    Takes,
    number_fact,
    short,
)
from inferences.predictions.parsers import quantities
from inferences.predictions.parsers.values import Kind, Outputs

FACTS_MAX = 20  # each takes one of the few slots of its model
SUMMED_UP = 6


class MultiOutput(ModelType[Outputs]):
    task = TaskType.MULTI_OUTPUT
    kind = Kind.MULTI_OUTPUT
    takes = Takes.ROWS
    is_tabular = True
    reader = staticmethod(quantities.read_outputs)
    content = Outputs
    forms = ("values",)
    columns = (Column("values", "json", "an object of name and value"),)
    item = "output"
    title = "Outputs"

    def facts(self, content: Outputs) -> Iterator[Fact]:
        for name, value in islice(content.values.items(), FACTS_MAX):
            key = f"{PREDICTION}.{name}"
            if isinstance(value, str):
                yield key, MetadataType.STRING, value
            else:
                yield number_fact(key, value)

    def values(self, content: Outputs) -> dict[str, Any]:
        return {"values": content.values}

    def items(self, content: Outputs) -> list[Item]:
        return [
            Item(
                value if isinstance(value, str) else None,
                None if isinstance(value, str) else value,
                {"name": name, "value": value},
            )
            for name, value in content.values.items()
        ]

    def summary(self, content: Outputs) -> str:
        shown = islice(content.values.items(), SUMMED_UP)
        return ", ".join(f"{name} {short(value)}" for name, value in shown)
