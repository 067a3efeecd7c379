"""Batches: whether the rows of a request's inputs are one inference each.

A batch is recognised by the shapes alone, before any value is parsed, and by the task type. What
may just as well be one input of several values counts as one: a vector of features, the tokens
of a sentence, the lines of a picture, a series, the documents of one ranking. The response
decides afterwards as well: see ``slicing.is_in_parts``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import orjson

from protocols.open_inference.elements import JSON, decode, sniff, tensor_json
from protocols.open_inference.parameters import merge
from protocols.open_inference.tensors import InferRequest, Tensor, plain_data

NUMPY = orjson.OPT_SERIALIZE_NUMPY
TABULAR = ("Tabular", "Multi-Output")
TEXT = ("Text", "Named Entity")
PICTURES = ("Image", "Object Detection", "Oriented Object Detection")
PICTURE_RANK = 4  # [N, height, width, channels]; with fewer it may be one picture
FRAME = "pd"  # MLServer's codec for data frames, with one input for each column


@dataclass(frozen=True, slots=True)
class Form:
    """Datatype and shape of an input, which are known without its values."""

    datatype: str
    shape: tuple[int, ...]

    @property
    def is_column(self) -> bool:
        """Whether it has one value for each row: shape [N] or [N, 1]."""
        return len(self.shape) == 1 or self.shape[1:] == (1,)


def count_rows(
    inputs: Sequence[Form], parameters: Mapping[str, Any], task_type: str | None
) -> int:
    """Return the number of rows; 1 where the inputs are, or may be, a single one."""
    counts = {tensor.shape[:1] for tensor in inputs}
    if len(counts) != 1 or not (count := next(iter(counts))) or count[0] < 2:
        return 1
    return count[0] if _are_rows(inputs, parameters, task_type or "") else 1


def _are_rows(
    inputs: Sequence[Form], parameters: Mapping[str, Any], task_type: str
) -> bool:
    if task_type.startswith(TABULAR):
        # A single input [N] is ambiguous: N rows, or one row of N features.
        several = len(inputs) > 1 or is_frame(parameters)
        return several or len(inputs[0].shape) > 1
    if task_type.startswith(TEXT):
        # Tokens given as numbers are rows only in two dimensions.
        texts = any(tensor.datatype == "BYTES" for tensor in inputs)
        return texts or all(len(tensor.shape) > 1 for tensor in inputs)
    if task_type.startswith(PICTURES):
        return any(
            tensor.is_column
            if tensor.datatype == "BYTES"
            else len(tensor.shape) >= PICTURE_RANK
            for tensor in inputs
        )
    return False


def is_frame(parameters: Mapping[str, Any]) -> bool:
    """Return whether it is a data frame: MLServer's codec that sends one input for each column."""
    return parameters.get("content_type") == FRAME


def forms_of(request: InferRequest) -> list[Form]:
    """Return datatype and shape of each input."""
    return [Form(tensor.datatype, tensor.shape) for tensor in request.inputs]


def count_rows_of(request: InferRequest, task_type: str | None) -> int:
    """Return ``count_rows``, or 1 if the number of values is not a multiple of it."""
    count = count_rows(forms_of(request), request.parameters, task_type)
    if count > 1 and any(len(tensor.data) % count for tensor in request.inputs):
        return 1
    return count


def tensors_of_row(request: InferRequest, index: int, count: int) -> list[Tensor]:
    """Return the inputs of a request for this row alone."""
    rows = []
    for tensor in request.inputs:
        size = len(tensor.data) // count
        data = tensor.data[index * size : (index + 1) * size]
        rows.append(replace(tensor, shape=(1, *tensor.shape[1:]), data=data))
    return rows


def data_of_row(
    request: InferRequest, tensors: Sequence[Tensor], task_type: str | None
) -> tuple[bytes, str]:
    """Return the data that one row is asked about, and its content type.

    A text or picture is itself, and so is the only picture among other inputs. Columns become a
    JSON object of values by input name; a single tensor of numbers is as it would be alone.
    """
    values = [_value(request, each) for each in tensors]
    if len(values) == 1 and isinstance(values[0], bytes):
        return values[0], sniff(values[0])
    in_bytes = [each for each in values if isinstance(each, bytes)]
    pictures = [each for each in in_bytes if sniff(each).startswith("image/")]
    if len(pictures) == 1:
        return pictures[0], sniff(pictures[0])
    names = {each.name for each in tensors}
    is_named = len(names) == len(tensors) and "" not in names
    is_one = len(tensors) == 1 and not is_frame(request.parameters)
    if is_one or not is_named or any(_text(each) is None for each in in_bytes):
        return tensor_json(*tensors), JSON
    row = {
        tensor.name: _text(value) if isinstance(value, bytes) else value
        for tensor, value in zip(tensors, values, strict=True)
    }
    return orjson.dumps(row, option=NUMPY), JSON


def _value(request: InferRequest, tensor: Tensor) -> Any:
    """Return a single element as bytes, a single number as itself, several values as a list."""
    if len(tensor.data) != 1:
        data = plain_data(tensor)
        return data.tolist() if isinstance(data, np.ndarray) else data
    (item,) = tensor.data
    if tensor.datatype == "BYTES" and item is not None:
        return decode(item, merge(tensor.parameters, request.parameters))
    return item


def _text(data: bytes) -> str | None:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return None
