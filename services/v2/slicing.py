"""The answer to a request of several images, taken apart into one answer for each."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from services.v2.tensors import InferResponse, Tensor, tensor_value

NUMBERED = re.compile(r"(?P<stem>.*?)[-_.:/ ]?(?P<number>[0-9]{1,9})", re.DOTALL)


def slice_response(
    response: InferResponse, index: int, count: int
) -> tuple[dict[str, Any], str | None]:
    """The answer to the ``index``-th of ``count`` parts as V2 JSON; a warning or None.

    In this order: the only part has the whole answer. Outputs numbered in as many runs
    as there are parts (``boxes-0, scores-0, boxes-1, scores-1``) go by their number. As
    many outputs of one name as there are parts go by their place. Else each output
    whose first dimension is the number of parts gives its row, and the others go to
    every part whole. When no output can be taken apart, every part has the whole answer
    and a warning.
    """
    if count == 1:
        return _value(response, [tensor_value(each) for each in response.outputs]), None
    own = _by_number(response.outputs, index, count)
    if own is None and len({each.name for each in response.outputs}) == 1:
        own = (
            response.outputs[index : index + 1]
            if _is_as_many(response, count)
            else None
        )
    if own is not None:
        return _value(response, [tensor_value(each) for each in own]), None
    outputs = [tensor_value(each) for each in response.outputs]
    rows = [_row(each, index, count) for each in outputs]
    if not any(rows):
        warning = (
            f"The answer could not be taken apart into {count} parts; "
            "each part holds the whole answer."
        )
        return _value(response, outputs), warning
    parts = [row or output for row, output in zip(rows, outputs, strict=True)]
    return _value(response, parts), None


def is_in_parts(response: InferResponse, count: int) -> bool:
    """Whether all of the answer comes in as many parts as the request has inputs.

    By the number or the place of the outputs, or by the first dimension of each of them.
    """
    outputs = response.outputs
    if _by_number(outputs, 0, count) is not None:
        return True
    if len({each.name for each in outputs}) == 1 and _is_as_many(response, count):
        return True
    return bool(outputs) and all(_has_rows(each, count) for each in outputs)


def _has_rows(output: Tensor, count: int) -> bool:
    return output.shape[:1] == (count,) and len(output.data) % count == 0


def _by_number(
    outputs: Sequence[Tensor], index: int, count: int
) -> list[Tensor] | None:
    runs: dict[int, dict[str, Tensor]] = {}
    for output in outputs:
        found = NUMBERED.fullmatch(output.name)
        if not found:
            return None
        runs.setdefault(int(found["number"]), {})[found["stem"]] = output
    alike = len({frozenset(run) for run in runs.values()}) == 1
    if len(runs) != count or not alike:
        return None
    if sum(map(len, runs.values())) != len(outputs):  # a name came twice
        return None
    return list(runs[sorted(runs)[index]].values())


def _is_as_many(response: InferResponse, count: int) -> bool:
    return len(response.outputs) == count


def _row(output: dict[str, Any], index: int, count: int) -> dict[str, Any] | None:
    shape, data = output["shape"], output["data"]
    if len(data) % count or shape[:1] != [count]:
        return None
    size = len(data) // count
    own = data[index * size : (index + 1) * size]
    return {**output, "shape": [1, *shape[1:]], "data": own}


def _value(response: InferResponse, outputs: list[dict[str, Any]]) -> dict[str, Any]:
    named = {
        "model_name": response.model_name,
        "model_version": response.model_version,
        "id": response.id,
        "parameters": response.parameters or None,
    }
    present = {name: value for name, value in named.items() if value is not None}
    return {**present, "outputs": outputs}
