"""What every adapter is: a step from JSON items to JSON items, made from a description."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, ClassVar

from inference_store.adapters.errors import AdapterError, Fault
from inference_store.adapters.json_values import copied, fresh, named

# An item may become many, but not without end.
MAX_ITEMS = 100_000


class Adapter(ABC):
    """Turns a stream of items into another: ``list(adapter([{"text": "a"}]))``.

    Nothing is changed in place; what is not touched is shared with the item it came
    from. Whatever an item looks like, the only error is ``AdapterError``.
    """

    kind: ClassVar[str]

    def __init__(self, configuration: Mapping[str, Any] | None = None) -> None:
        try:
            if configuration is not None and not isinstance(configuration, Mapping):
                raise Fault(
                    f"A configuration is an object, not {named(configuration)}."
                )
            self._configuration = copied(dict(configuration or {}))
            self._read(self._configuration)
        except Fault as fault:
            raise AdapterError(self._label(), str(fault)) from None

    def __call__(self, stream: Iterable[Any]) -> Iterator[Any]:
        if not isinstance(stream, Iterable):
            raise AdapterError(self._label(), f"{named(stream)} is no stream of items.")
        for item in stream:
            yield from self._run((item,), self._label())

    def description(self) -> dict[str, Any]:
        """The JSON from which ``create_adapter`` makes an adapter like this one."""
        return {"kind": self.kind, "configuration": fresh(self._configuration)}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Adapter) and self.description() == other.description()

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"{self.kind}({self.description()['configuration']!r})"

    def _label(self) -> tuple[str, ...]:
        """How this step is named when it stands alone."""
        return (self.kind,)

    def _run(self, stream: Iterable[Any], path: tuple[str, ...]) -> Iterator[Any]:
        """What becomes of the items that one item became so far."""
        count = 0
        for item in stream:
            try:
                for made in self._each(item, path):
                    count += 1
                    if count > MAX_ITEMS:
                        raise Fault(f"An item becomes more than {MAX_ITEMS} items.")
                    yield made
            except Fault as fault:
                raise AdapterError(path, str(fault)) from None

    @abstractmethod
    def _read(self, configuration: dict[str, Any]) -> None:
        """Takes the configuration in. Raises Fault when it cannot be right."""

    @abstractmethod
    def _each(self, item: Any, path: tuple[str, ...]) -> Iterable[Any]:
        """What one item becomes. Raises Fault when nothing can."""


def only(configuration: dict[str, Any], *known: str) -> None:
    """Raises Fault if a configuration has a member that is not known."""
    if unknown := sorted(configuration.keys() - set(known)):
        raise Fault(f"The configuration has no member {unknown[0]!r:.60}.")


def names(configuration: dict[str, Any], member: str) -> list[str]:
    """A list of different names. Raises Fault for anything else."""
    said = configuration.get(member)
    if not isinstance(said, list) or not all(isinstance(name, str) for name in said):
        raise Fault(f"{member!r} is a list of names.")
    if len(set(said)) != len(said):
        raise Fault(f"{member!r} has a name twice.")
    return said


def fields_of(item: Any) -> dict[str, Any]:
    """An item that has to be an object."""
    if not isinstance(item, dict):
        raise Fault(f"The item is {named(item)}, not an object.")
    return item


def field(item: dict[str, Any], name: str) -> Any:
    if name not in item:
        raise Fault(f"The item has no field {name!r:.60}.")
    return item[name]
