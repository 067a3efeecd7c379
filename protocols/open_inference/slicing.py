"""The answer to a request of several images, taken apart into one answer for each."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from protocols.open_inference.tensors import InferResponse, Tensor, tensor_value

NUMBERED = re.compile(r"(?P<stem>.*?)[-_.:/ ]?(?P<number>[0-9]{1,9})", re.DOTALL)


def slice_response(
    response: InferResponse, index: int, count: int
) -> tuple[dict[str, Any], str | None]:
    """The answer to the ``index``-th of ``count`` parts, as ``slices_of`` gives it."""
    slices, warning = slices_of(response, count)
    return slices[index], warning


def slices_of(
    response: InferResponse, count: int
) -> tuple[list[dict[str, Any]], str | None]:
    """The answer to each of ``count`` parts as V2 JSON; a warning or None.

    In this order: the only part has the whole answer. Outputs numbered in as many runs
    as there are parts (``boxes-0, scores-0, boxes-1, scores-1``) go by their number. As
    many outputs of one name as there are parts go by their place. Else each output
    whose first dimension is the number of parts gives its row, and the others go to
    every part whole. When no output can be taken apart, every part has the whole answer
    and a warning.
    """
    outputs = [tensor_value(each) for each in response.outputs]
    runs = _by_number(response.outputs, count)
    if count == 1:
        own = [outputs]
    elif runs is not None:
        own = [[outputs[place] for place in run] for run in runs]
    elif len({each.name for each in response.outputs}) == 1 and (
        _is_as_many(response, count)
    ):
        own = [[each] for each in outputs]
    else:
        rows = [_rows(each, count) for each in outputs]
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
    """Whether all of the answer comes in as many parts as the request has inputs.

    By the number or the place of the outputs, or by the first dimension of each of them.
    """
    outputs = response.outputs
    if _by_number(outputs, count) is not None:
        return True
    if len({each.name for each in outputs}) == 1 and _is_as_many(response, count):
        return True
    return bool(outputs) and all(_has_rows(each, count) for each in outputs)


def _has_rows(output: Tensor, count: int) -> bool:
    return output.shape[:1] == (count,) and len(output.data) % count == 0


def _by_number(outputs: Sequence[Tensor], count: int) -> list[list[int]] | None:
    """The places of the outputs of each part, where names are numbered alike."""
    runs: dict[int, dict[str, int]] = {}
    for place, output in enumerate(outputs):
        found = NUMBERED.fullmatch(output.name)
        if not found:
            return None
        runs.setdefault(int(found["number"]), {})[found["stem"]] = place
    alike = len({frozenset(run) for run in runs.values()}) == 1
    if len(runs) != count or not alike:
        return None
    if sum(map(len, runs.values())) != len(outputs):  # a name came twice
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
