"""Adapters that contain adapters, and the functions that create adapters."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from inference_store.adapters.base import Adapter, field, fields_of, names, only
from inference_store.adapters.errors import AdapterError, Fault
from inference_store.adapters.fields import Drop, Rename, Select
from inference_store.adapters.json_values import type_name
from inference_store.adapters.nesting import ExplodeCollections, FlattenHierarchy
from inference_store.adapters.transforming import TransformJSON

MAX_STEPS = 100
MAX_LEVELS = 10


class Map(Adapter):
    """Applies another adapter to the elements of the named lists.

    ``{"collections": ["choices"], "adapter": {"kind": …, "configuration": …}}``
    """

    kind = "Map"

    def _read(self, configuration: dict[str, Any]) -> None:
        only(configuration, "collections", "adapter")
        self._collections = names(configuration, "collections")
        if "adapter" not in configuration:
            raise Fault("'adapter' is missing.")
        try:
            self._adapter = create_adapter(configuration["adapter"])
        except AdapterError as error:
            raise AdapterError((self.kind, *error.path), error.reason) from None

    def _transform(self, item: Any, path: tuple[str, ...]) -> Iterable[Any]:
        fields = dict(fields_of(item))
        for name in self._collections:
            elements = field(fields, name)
            if not isinstance(elements, list):
                raise Fault(
                    f"The field {name!r:.60} is {type_name(elements)}, not a list."
                )
            inner = (*path, *self._adapter._label())
            fields[name] = list(self._adapter._run(elements, inner))
        yield fields


class Pipeline(Adapter):
    """Applies several adapters, one after the other.

    It takes adapters, descriptions, or ``{"adapters": [descriptions]}``.
    """

    kind = "Pipeline"

    def __init__(self, adapters: Any = ()) -> None:
        if not isinstance(adapters, Mapping):
            adapters = {"adapters": _descriptions(adapters)}
        super().__init__(adapters)

    def _read(self, configuration: dict[str, Any]) -> None:
        only(configuration, "adapters")
        descriptions = configuration.get("adapters", [])
        if not isinstance(descriptions, list) or len(descriptions) > MAX_STEPS:
            raise Fault(f"'adapters' is a list of at most {MAX_STEPS} adapters.")
        self._adapters = []
        for number, description in enumerate(descriptions, 1):
            try:
                self._adapters.append(create_adapter(description))
            except AdapterError as error:
                first, inner = f"step {number}", error.path
                is_object = isinstance(description, Mapping)
                kind = description.get("kind") if is_object else None
                if isinstance(kind, str) and kind in KINDS:
                    first += f" ({kind})"
                    inner = inner[1:] if inner[:1] == (kind,) else inner
                raise AdapterError((first, *inner), error.reason) from None

    def _label(self) -> tuple[str, ...]:
        return ()

    def _run(self, stream: Iterable[Any], path: tuple[str, ...]) -> Iterator[Any]:
        for number, adapter in enumerate(self._adapters, 1):
            stream = adapter._run(stream, (*path, f"step {number} ({adapter.kind})"))
        yield from stream

    def _transform(self, item: Any, path: tuple[str, ...]) -> Iterable[Any]:
        return self._run((item,), path)


KINDS: Mapping[str, type[Adapter]] = {
    adapter.kind: adapter
    for adapter in (
        Drop,
        ExplodeCollections,
        FlattenHierarchy,
        Map,
        Pipeline,
        Rename,
        Select,
        TransformJSON,
    )
}


def create_adapter(description: Any) -> Adapter:
    """Create the adapter of a description, ``{"kind": …, "configuration": …}``.

    Parameters:
        description: a JSON object, or a ``schema.SchemaAdapter``.

    Returns:
        The adapter; its ``description()`` equals the given one.

    Raises:
        AdapterError: the description is not valid; the message names the step.
    """
    description = _describe(description)
    if not isinstance(description, Mapping):
        raise AdapterError(
            (), f"An adapter is an object, not {type_name(description)}."
        )
    kind = description.get("kind")
    if not isinstance(kind, str) or kind not in KINDS:
        known = ", ".join(KINDS)
        raise AdapterError((), f"The kind is one of {known}, not {kind!r:.60}.")
    if unknown := sorted(map(str, description.keys() - {"kind", "configuration"})):
        raise AdapterError((kind,), f"There is no member {unknown[0]!r:.60}.")
    if _levels(description) > MAX_LEVELS:
        raise AdapterError((kind,), f"Adapters lie in {MAX_LEVELS} levels at most.")
    return KINDS[kind](description.get("configuration"))


def create_pipeline(descriptions: Any) -> Pipeline:
    """Create a pipeline from a list of descriptions.

    Parameters:
        descriptions: a list of descriptions as ``create_adapter`` takes them; None makes
            a pipeline that changes nothing.

    Returns:
        The pipeline.

    Raises:
        AdapterError: a description is not valid; the message names the step.
    """
    return Pipeline(() if descriptions is None else descriptions)


def _descriptions(adapters: Any) -> list[Any]:
    if isinstance(adapters, str) or not isinstance(adapters, Iterable):
        raise AdapterError(
            (), f"A pipeline is a list of adapters, not {type_name(adapters)}."
        )
    return [_describe(adapter) for adapter in adapters]


def _describe(adapter: Any) -> Any:
    """Return the JSON description of an adapter, or of a pydantic model of one."""
    if isinstance(adapter, Adapter):
        return adapter.description()
    return adapter.model_dump() if hasattr(adapter, "model_dump") else adapter


def _levels(description: Any) -> int:
    """Return how deep adapters are nested, without creating them."""
    level, inner = 0, [description]
    while inner and level <= MAX_LEVELS:
        level += 1
        below: list[Any] = []
        for adapter in inner:
            if not isinstance(adapter, Mapping):
                continue
            configuration = adapter.get("configuration")
            if not isinstance(configuration, Mapping):
                continue
            if adapter.get("kind") == Map.kind:
                below.append(configuration.get("adapter"))
            elif adapter.get("kind") == Pipeline.kind:
                adapters = configuration.get("adapters")
                below += adapters if isinstance(adapters, list) else []
        inner = below
    return level
