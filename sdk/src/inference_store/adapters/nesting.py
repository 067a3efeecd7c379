"""Adapters of nested values: ExplodeCollections, FlattenHierarchy."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from inference_store.adapters.base import Adapter, field, fields_of, names, only
from inference_store.adapters.errors import Fault
from inference_store.adapters.json_values import MAX_DEPTH, type_name
from inference_store.adapters.paths import Path


class ExplodeCollections(Adapter):
    """Makes one item for each element of one or more lists of the same length.

    ``{"collections": ["choices"], "index": {"rank": "$.choices[*].meta.rank",
    "place": null}}``: the element replaces its list. Each index adds a field: a path that
    finds one value for each element, or null for 0, 1, 2, ….
    """

    kind = "ExplodeCollections"

    def _read(self, configuration: dict[str, Any]) -> None:
        only(configuration, "collections", "index")
        self._collections = names(configuration, "collections")
        if not self._collections:
            raise Fault("'collections' names at least one list.")
        index = configuration.get("index") or {}
        if not isinstance(index, dict):
            raise Fault("'index' is an object of paths.")
        self._index = {
            name: None if path is None else Path(path) for name, path in index.items()
        }

    def _transform(self, item: Any, path: tuple[str, ...]) -> Iterator[Any]:
        fields = fields_of(item)
        columns = {name: field(fields, name) for name in self._collections}
        for name, column in columns.items():
            if not isinstance(column, list):
                raise Fault(
                    f"The field {name!r:.60} is {type_name(column)}, not a list."
                )
        lengths = {len(column) for column in columns.values()}
        if len(lengths) > 1:
            raise Fault("The lists have different lengths.")
        length = lengths.pop()
        for name, source in self._index.items():
            values = range(length) if source is None else source.find(item)
            if len(values) != length:
                found = f"{len(values)} values for {length} elements"
                raise Fault(f"The index {name!r:.60} has {found}.")
            columns[name] = values
        rest = {name: fields[name] for name in fields if name not in columns}
        for row in zip(*columns.values()):  # noqa: B905 - of one length, see above
            yield {**rest, **dict(zip(columns, row))}  # noqa: B905


class FlattenHierarchy(Adapter):
    """Flattens nested objects: ``{"a": {"b": 1}}`` becomes ``{"a.b": 1}``.

    ``{"fields": ["a"], "depth": 1, "addPrefix": true}``: without ``fields`` it flattens the
    whole item, without ``depth`` to any depth. Lists are values and stay. Without the prefix
    a field has its last name only, and two fields of one name are an error.
    """

    kind = "FlattenHierarchy"

    def _read(self, configuration: dict[str, Any]) -> None:
        only(configuration, "fields", "depth", "addPrefix")
        has_fields = configuration.get("fields") is not None
        self._fields = names(configuration, "fields") if has_fields else []
        self._depth = configuration.get("depth")
        if self._depth is not None and (
            type(self._depth) is not int or self._depth < 0
        ):
            raise Fault("'depth' is a whole number from 0.")
        self._add_prefix = configuration.get("addPrefix", True)
        if not isinstance(self._add_prefix, bool):
            raise Fault("'addPrefix' is true or false.")

    def _transform(self, item: Any, path: tuple[str, ...]) -> Iterator[Any]:
        fields = fields_of(item)
        for name in self._fields:
            field(fields, name)
        flat: dict[str, Any] = {}
        for name, value in fields.items():
            inside = not self._fields or name in self._fields
            for way, leaf in (
                self._leaves((name,), value) if inside else [((name,), value)]
            ):
                key = ".".join(way) if self._add_prefix else way[-1]
                if key in flat:
                    raise Fault(f"Two values would be called {key!r:.60}.")
                flat[key] = leaf
        yield flat

    def _leaves(
        self, way: tuple[str, ...], value: Any
    ) -> Iterator[tuple[tuple[str, ...], Any]]:
        """Yield path and value of each leaf: a value that is no object, or is at the depth."""
        if not isinstance(value, dict) or (
            self._depth is not None and len(way) > self._depth
        ):
            yield way, value
            return
        if len(way) > MAX_DEPTH:
            raise Fault(f"The item is nested deeper than {MAX_DEPTH} levels.")
        for name, inner in value.items():
            yield from self._leaves((*way, str(name)), inner)
