"""The base of all adapters: a step from JSON items to JSON items, made from a description."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, ClassVar

from inference_store.adapters.errors import AdapterError, Fault
from inference_store.adapters.json_values import check_and_copy, copy, type_name

# How many items one item may become: a description must not exhaust the memory.
MAX_ITEMS = 100_000


class Adapter(ABC):
    """Transforms a stream of items: ``list(adapter([{"text": "a"}]))``.

    Items are not changed in place; untouched parts are shared between the old and the new
    item. For any item the only exception is ``AdapterError``.
    """

    kind: ClassVar[str]

    def __init__(self, configuration: Mapping[str, Any] | None = None) -> None:
        try:
            if configuration is not None and not isinstance(configuration, Mapping):
                raise Fault(
                    f"A configuration is an object, not {type_name(configuration)}."
                )
            self._configuration = check_and_copy(dict(configuration or {}))
            self._read(self._configuration)
        except Fault as fault:
            raise AdapterError(self._label(), str(fault)) from None

    def __call__(self, stream: Iterable[Any]) -> Iterator[Any]:
        if not isinstance(stream, Iterable):
            raise AdapterError(
                self._label(), f"{type_name(stream)} is no stream of items."
            )
        for item in stream:
            yield from self._run((item,), self._label())

    def description(self) -> dict[str, Any]:
        """Return the JSON from which ``create_adapter`` makes an equal adapter."""
        return {"kind": self.kind, "configuration": copy(self._configuration)}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Adapter) and self.description() == other.description()

    def __repr__(self) -> str:
        return f"{self.kind}({self.description()['configuration']!r})"

    def _label(self) -> tuple[str, ...]:
        """Return the name of this step in errors, when it is not part of a pipeline."""
        return (self.kind,)

    def _run(self, stream: Iterable[Any], path: tuple[str, ...]) -> Iterator[Any]:
        """Yield the results for the items that one original item has become so far."""
        count = 0
        for item in stream:
            try:
                for made in self._transform(item, path):
                    count += 1
                    if count > MAX_ITEMS:
                        raise Fault(f"An item becomes more than {MAX_ITEMS} items.")
                    yield made
            except Fault as fault:
                raise AdapterError(path, str(fault)) from None

    @abstractmethod
    def _read(self, configuration: dict[str, Any]) -> None:
        """Read the configuration. Raises Fault if it is not valid."""

    @abstractmethod
    def _transform(self, item: Any, path: tuple[str, ...]) -> Iterable[Any]:
        """Return the items that one item becomes. Raises Fault if it cannot be transformed."""


def only(configuration: dict[str, Any], *known: str) -> None:
    """Raise Fault if a configuration has an unknown member."""
    if unknown := sorted(configuration.keys() - set(known)):
        raise Fault(f"The configuration has no member {unknown[0]!r:.60}.")


def names(configuration: dict[str, Any], member: str) -> list[str]:
    """Return a member that is a list of distinct names. Raises Fault for anything else."""
    names = configuration.get(member)
    if not isinstance(names, list) or not all(isinstance(n, str) for n in names):
        raise Fault(f"{member!r} is a list of names.")
    if len(set(names)) != len(names):
        raise Fault(f"{member!r} has a name twice.")
    return names


def fields_of(item: Any) -> dict[str, Any]:
    """Return an item that must be a JSON object. Raises Fault for anything else."""
    if not isinstance(item, dict):
        raise Fault(f"The item is {type_name(item)}, not an object.")
    return item


def field(item: dict[str, Any], name: str) -> Any:
    """Return a field of an item. Raises Fault if it is missing."""
    if name not in item:
        raise Fault(f"The item has no field {name!r:.60}.")
    return item[name]
