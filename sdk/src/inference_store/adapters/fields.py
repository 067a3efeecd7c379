"""Adapters of top-level fields: Rename, Select, Drop."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from inference_store.adapters.base import Adapter, field, fields_of, names, only
from inference_store.adapters.errors import Fault


class Rename(Adapter):
    """Renames fields, all of them at once: ``Rename({"old": "new"})``.

    It is an error if a field is missing or a new name is taken already.
    """

    kind = "Rename"

    def _read(self, configuration: dict[str, Any]) -> None:
        self._names = configuration
        if not all(isinstance(name, str) for name in configuration.values()):
            raise Fault("The new name of a field is a text.")
        if len(set(configuration.values())) != len(configuration):
            raise Fault("Two fields are given the same name.")

    def _transform(self, item: Any, path: tuple[str, ...]) -> Iterable[Any]:
        fields = fields_of(item)
        for name in self._names:
            field(fields, name)
        renamed = {self._names.get(name, name): value for name, value in fields.items()}
        if len(renamed) != len(fields):
            taken = next(
                new
                for new in self._names.values()
                if new in fields and new not in self._names
            )
            raise Fault(f"The item has a field {taken!r:.60} already.")
        yield renamed


class Select(Adapter):
    """Keeps only the named fields, in the given order: ``Select({"fields": ["a"]})``."""

    kind = "Select"

    def _read(self, configuration: dict[str, Any]) -> None:
        only(configuration, "fields")
        self._fields = names(configuration, "fields")

    def _transform(self, item: Any, path: tuple[str, ...]) -> Iterable[Any]:
        fields = fields_of(item)
        yield {name: field(fields, name) for name in self._fields}


class Drop(Adapter):
    """Removes the named fields if they exist: ``Drop({"fields": ["a"]})``."""

    kind = "Drop"

    def _read(self, configuration: dict[str, Any]) -> None:
        only(configuration, "fields")
        self._fields = frozenset(names(configuration, "fields"))

    def _transform(self, item: Any, path: tuple[str, ...]) -> Iterable[Any]:
        fields = fields_of(item)
        yield {name: fields[name] for name in fields if name not in self._fields}
