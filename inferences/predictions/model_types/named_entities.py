"""Named entity recognition: labelled spans of a text."""

from __future__ import annotations

from typing import Any

from inferences.models import TaskType
from inferences.predictions.model_types.base import (
    CLASSES,
    Column,
    Item,
    ModelType,
    Takes,
)
from inferences.predictions.parsers import entities
from inferences.predictions.parsers.values import Entities, Entity, Kind


class NamedEntities(ModelType[Entities]):
    task = TaskType.NAMED_ENTITIES
    kind = Kind.NAMED_ENTITIES
    takes = Takes.TEXT
    has_prompt = finds_things = True
    reader = staticmethod(entities.read)
    content = Entities
    forms = ("entities",)
    columns = (
        *CLASSES,
        Column("entities", "json", "a list of {label, start, end, score}"),
    )
    item = "entity"
    title = "Entities"

    def values(self, content: Entities) -> dict[str, Any]:
        return {"entities": list(map(entity_value, content.entities))}

    def items(self, content: Entities) -> list[Item]:
        return [
            Item(each.label, each.score, entity_value(each))
            for each in content.entities
        ]


def entity_value(span: Entity) -> dict[str, Any]:
    """Return an entity in the form of the API's collection."""
    return {
        "label": span.label,
        "start": span.start,
        "end": span.end,
        "score": span.score,
    }
