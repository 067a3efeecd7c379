"""Split the response to a request of several inputs into one response for each."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from protocols.open_inference.tensors import InferResponse, Tensor, tensor_value

NUMBERED = re.compile(r"(?P<stem>.*?)[-_.:/ ]?(?P<number>[0-9]{1,9})", re.DOTALL)


def slice_response(
    response: InferResponse, index: int, count: int
) -> tuple[dict[str, Any], str | None]:
    """Return the response for one of ``count`` parts, as ``slices_of`` returns it."""
    slices, warning = slices_of(response, count)
    return slices[index], warning


def slices_of(
    response: InferResponse, count: int
) -> tuple[list[dict[str, Any]], str | None]:
    """Return the V2 JSON response for each of ``count`` parts, and a warning or None.

    The rules are tried in this order. A single part has the whole response. Outputs whose names
    are numbered in as many runs as there are parts (``boxes-0, scores-0, boxes-1, scores-1``)
    belong to parts by their number. If there are as many outputs as parts, all of one name, they
    belong to parts by their position. Otherwise each output whose first dimension is the number
    of parts is split into rows, and the others go whole to every part. If no output can be
    split, every part has the whole response, with a warning.
    """
    outputs = [tensor_value(tensor) for tensor in response.outputs]
    runs = _by_number(response.outputs, count)
    if count == 1:
        own = [outputs]
    elif runs is not None:
        own = [[outputs[place] for place in run] for run in runs]
    elif len({tensor.name for tensor in response.outputs}) == 1 and (
        _is_as_many(response, count)
    ):
        own = [[tensor] for tensor in outputs]
    else:
        rows = [_rows(tensor, count) for tensor in outputs]
        if not any(rows):
            warning = (
                f"The answer could not be taken apart into {count} parts; "
                "each part holds the whole answer."
            )
            return [_value(response, outputs)] * count, warning
        own = [
            [
                row[n] if row else output
                for row, output in zip(rows, outputs, strict=True)
            ]
            for n in range(count)
        ]
    return [_value(response, each) for each in own], None


def is_in_parts(response: InferResponse, count: int) -> bool:
    """Return whether the whole response comes in as many parts as the request has inputs.

    The parts are recognised by the number or the position of the outputs, or by the first
    dimension of every output.
    """
    outputs = response.outputs
    if _by_number(outputs, count) is not None:
        return True
    if len({tensor.name for tensor in outputs}) == 1 and _is_as_many(response, count):
        return True
    return bool(outputs) and all(_has_rows(tensor, count) for tensor in outputs)


def _has_rows(output: Tensor, count: int) -> bool:
    return output.shape[:1] == (count,) and len(output.data) % count == 0


def _by_number(outputs: Sequence[Tensor], count: int) -> list[list[int]] | None:
    """Return the positions of the outputs of each part, if their names are numbered alike."""
    runs: dict[int, dict[str, int]] = {}
    for place, output in enumerate(outputs):
        found = NUMBERED.fullmatch(output.name)
        if not found:
            return None
        runs.setdefault(int(found["number"]), {})[found["stem"]] = place
    alike = len({frozenset(run) for run in runs.values()}) == 1
    if len(runs) != count or not alike:
        return None
    if sum(map(len, runs.values())) != len(outputs):  # a name is repeated
        return None
    return [list(runs[number].values()) for number in sorted(runs)]


def _is_as_many(response: InferResponse, count: int) -> bool:
    return len(response.outputs) == count


def _rows(output: dict[str, Any], count: int) -> list[dict[str, Any]] | None:
    shape, data = output["shape"], output["data"]
    if len(data) % count or shape[:1] != [count]:
        return None
    size = len(data) // count
    return [
        {**output, "shape": [1, *shape[1:]], "data": data[n * size : (n + 1) * size]}
        for n in range(count)
    ]


def _value(response: InferResponse, outputs: list[dict[str, Any]]) -> dict[str, Any]:
    named = {
        "model_name": response.model_name,
        "model_version": response.model_version,
        "id": response.id,
        "parameters": response.parameters or None,
    }
    present = {name: value for name, value in named.items() if value is not None}
    return {**present, "outputs": outputs}
