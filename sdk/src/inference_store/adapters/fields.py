"""Adapters of top-level fields: Rename, Select, Drop."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from inference_store.adapters.base import Adapter, field, fields_of, names, only
from inference_store.adapters.errors import Fault


class Rename(Adapter):
    """Gives fields new names: ``Rename({"old": "new"})``, all of them at once.

    A field that is missing is an error, and so is a new name that is taken already.
    """

    kind = "Rename"

    def _read(self, configuration: dict[str, Any]) -> None:
        self._names = configuration
        if not all(isinstance(name, str) for name in configuration.values()):
            raise Fault("The new name of a field is a text.")
        if len(set(configuration.values())) != len(configuration):
            raise Fault("Two fields are given the same name.")

    def _each(self, item: Any, path: tuple[str, ...]) -> Iterable[Any]:
        fields = fields_of(item)
        for name in self._names:
            field(fields, name)
        renamed = {self._names.get(name, name): each for name, each in fields.items()}
        if len(renamed) != len(fields):
            taken = next(
                new
                for new in self._names.values()
                if new in fields and new not in self._names
            )
            raise Fault(f"The item has a field {taken!r:.60} already.")
        yield renamed


class Select(Adapter):
    """Keeps the named fields alone, in the order named: ``Select({"fields": ["a"]})``."""

    kind = "Select"

    def _read(self, configuration: dict[str, Any]) -> None:
        only(configuration, "fields")
        self._fields = names(configuration, "fields")

    def _each(self, item: Any, path: tuple[str, ...]) -> Iterable[Any]:
        fields = fields_of(item)
        yield {name: field(fields, name) for name in self._fields}


class Drop(Adapter):
    """Leaves the named fields out, if they are there: ``Drop({"fields": ["a"]})``."""

    kind = "Drop"

    def _read(self, configuration: dict[str, Any]) -> None:
        only(configuration, "fields")
        self._fields = frozenset(names(configuration, "fields"))

    def _each(self, item: Any, path: tuple[str, ...]) -> Iterable[Any]:
        fields = fields_of(item)
        yield {name: fields[name] for name in fields if name not in self._fields}
