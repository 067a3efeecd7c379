"""The parts of an answer that parsers try, one after the other."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from protocols.json_text import parse, without_batch

MAX_RANK = 8
# Members that wrap the whole answer.
WRAPPERS = (
    "outputs",
    "detections",
    "predictions",
    "objects",
    "results",
    "instances",
    "annotations",
)


def candidates(outputs: Any) -> Iterator[Any]:
    """Yield the answer as a whole, then what it wraps, then each of its outputs."""
    value = parse(outputs)
    if _is_response(value):
        value = value["outputs"]
    if not _is_outputs(value):
        yield from _with_inner(value)
        return
    named = {output["name"]: _value(output) for output in value}
    yield named
    for each in named.values():
        yield from _with_inner(each)


def _with_inner(value: Any, levels: int = 3) -> Iterator[Any]:
    value = without_batch(value)
    if isinstance(value, list) and value and isinstance(value[0], str):
        value = without_batch([parse(item) for item in value])
    yield value
    if levels == 0:
        return
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], dict):
        yield from _with_inner(value[0], levels - 1)
    if isinstance(value, dict):
        for name in WRAPPERS:
            inner = parse(value.get(name))
            if isinstance(inner, list | dict):
                yield from _with_inner(inner, levels - 1)


def _is_response(value: Any) -> bool:
    return isinstance(value, dict) and _is_outputs(value.get("outputs"))


def _is_outputs(value: Any) -> bool:
    return (
        isinstance(value, list)
        and bool(value)
        and all(
            isinstance(output, dict)
            and isinstance(output.get("name"), str)
            and "data" in output
            for output in value
        )
    )


def _value(output: dict[str, Any]) -> Any:
    """Return the data of an output in its shape, with JSON text parsed."""
    data = output["data"]
    if hasattr(data, "tolist"):  # an array
        data = data.tolist()
    if not isinstance(data, list):
        return parse(data)
    if data and isinstance(data[0], str | bytes):
        data = [parse(_text(item)) for item in data]
    return _shape(data, output.get("shape"))


def _text(item: Any) -> Any:
    return item.decode(errors="replace") if isinstance(item, bytes) else item


def _shape(data: list[Any], shape: Any) -> list[Any]:
    if not isinstance(shape, list | tuple) or not 2 <= len(shape) <= MAX_RANK:
        return data
    if not all(type(size) is int and size > 0 for size in shape):
        return data
    # Elements that are JSON objects or lists keep their own nesting.
    nested = not {list, dict}.isdisjoint(map(type, data))
    if nested or len(data) != math.prod(shape):
        return data
    for size in reversed(shape[1:]):
        data = [data[start : start + size] for start in range(0, len(data), size)]
    return data
