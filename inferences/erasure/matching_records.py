"""Find the inferences that have a metadata value, and those whose history has it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.db.models import Q

from inferences.models import (
    InferenceQuerySet,
    MetadataChange,
    MetadataType,
    RegisteredModel,
)
from inferences.models.metadata_values import (
    RESERVED,
    MetadataValue,
    metadata_type,
    number_in,
    read_json,
)
from inferences.search.filters import InferenceFilter, MetadataFilter

SOURCE = "data_source"


@dataclass(frozen=True, slots=True)
class Carried:
    """The value to erase: a key, a type and a value, as in a metadata filter with ``=``.

    The data source is given by its name, as a string. Raises ``ValueError`` when the value
    does not parse as the type.
    """

    key: str
    type: str
    value: str

    def __post_init__(self) -> None:
        if self.is_source and self.type != "string":
            raise ValueError(f"{SOURCE} is a string.")
        if self.key in RESERVED and not self.is_source:
            raise ValueError(f"{self.key} is a place, and no metadata.")
        self._filter().operand()

    @property
    def is_source(self) -> bool:
        """Return whether the value is the name of a data source."""
        return self.key == SOURCE

    @property
    def path(self) -> list[str]:
        """Return the metadata key, followed for JSON by the path inside its value."""
        return self.key.split(".") if self.type.startswith("json.") else [self.key]

    def _filter(self) -> MetadataFilter:
        return MetadataFilter(self.key, self.type, "=", self.value)

    def condition(self, model: RegisteredModel) -> Q:
        """Return the filter's condition, served by the same indexes as a search."""
        if self.is_source:
            return InferenceFilter(data_source=self.value).condition(model)
        return self._filter().condition(model)

    def inferences(self, model: RegisteredModel) -> InferenceQuerySet:
        """Return all inferences that have the value, soft-deleted and protected ones included."""
        return model.inferences.filter(self.condition(model))

    def is_in(self, given: Any) -> bool:
        """Return whether ``[type, text]``, the form of payloads and history rows, is the value."""
        if not isinstance(given, list) or len(given) != 2:
            return False
        type_, text = given
        plain = self.type.partition(".")[0]
        if type_ != plain:
            return False
        try:
            if plain != MetadataType.JSON:
                value = MetadataValue(self.path[0], metadata_type(type_), text)
                return bool(value.value == self.operand)
            return self._is_leaf(read_json(text))
        except ValueError:
            return False

    @property
    def operand(self) -> Any:
        """Return the value, parsed as the type."""
        return self._filter().operand()

    def _is_leaf(self, value: Any) -> bool:
        for step in self.path[1:]:
            if isinstance(value, dict):
                value = value.get(step)
            elif isinstance(value, list) and step.isdecimal():
                value = value[int(step)] if int(step) < len(value) else None
            else:
                return False
        if self.type == "json.string":
            return isinstance(value, str) and value == self.operand
        if isinstance(value, str):
            value = number_in(value)
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return is_number and value == self.operand

    def is_among(self, items: Any) -> bool:
        """Return whether metadata in the form of a request body has the value."""
        return any(
            isinstance(each, dict)
            and each.get("key") == self.path[0]
            and self.is_in([each.get("type"), each.get("value")])
            for each in (items if isinstance(items, list) else ())
        )

    def changes(self, model: RegisteredModel) -> Iterator[MetadataChange]:
        """Yield the history rows that have the value, before or after the change."""
        if self.is_source:
            return
        rows = MetadataChange.objects.filter(registered_model=model, key=self.path[0])
        for row in rows.order_by("pk").iterator(1000):
            if self.is_in(row.before) or self.is_in(row.after):
                yield row
