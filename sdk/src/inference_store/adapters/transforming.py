"""TransformJSON: a new structure with values from the item."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from inference_store.adapters.base import Adapter
from inference_store.adapters.computing import computation
from inference_store.adapters.errors import Fault
from inference_store.adapters.paths import Path

Fill = Callable[[Any], Any]


class TransformJSON(Adapter):
    """Rebuilds each item in the shape of the configuration.

    ``{"id": "$.object.id", "kind": "ship", "words": {"$compute": [{"$scalar": "$.text"},
    {"$func": "split", "pattern": " "}]}}``: objects and lists are the shape. Texts that
    begin with ``$`` are JSON paths that find exactly one value; other values are literals.
    ``$$`` at the beginning of a text or a name is an escaped ``$``.

    ``$compute`` takes one step or several. A step is a value (``$literal`` as it is,
    ``$scalar`` the one match of a path, ``$list`` all matches, or a list of values) or a
    function of the result before it: ``$func`` findall, join, list, reduce, search, split
    or sub, with the parameters of the standard library.
    """

    kind = "TransformJSON"

    def _read(self, configuration: dict[str, Any]) -> None:
        self._fill = _filling(configuration)

    def _transform(self, item: Any, path: tuple[str, ...]) -> Iterable[Any]:
        yield self._fill(item)


def _filling(shape: Any) -> Fill:
    if isinstance(shape, dict):
        if "$compute" in shape:
            if len(shape) > 1:
                raise Fault("$compute stands alone in its object.")
            return computation(shape["$compute"])
        members = {_name(name): _filling(member) for name, member in shape.items()}
        if len(members) != len(shape):
            raise Fault("Two members have the same name.")
        return lambda item: {name: fill(item) for name, fill in members.items()}
    if isinstance(shape, list):
        elements = [_filling(member) for member in shape]
        return lambda item: [fill(item) for fill in elements]
    if isinstance(shape, str) and shape.startswith("$"):
        if not shape.startswith("$$"):
            return Path(shape).one
        shape = shape[1:]
    return lambda item: shape


def _name(name: str) -> str:
    if name.startswith("$$"):
        return name[1:]
    if name.startswith("$"):
        raise Fault(f"{name!r:.60} is none of ours; $$ at the beginning stands for $.")
    return name
