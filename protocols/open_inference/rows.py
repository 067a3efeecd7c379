"""Whether the inputs of a request are a batch: one row after the other, each an inference.

A batch is told by the shapes alone, before any value is read, and by what the model does.
What may as well be one input of several values is taken for one: a vector of features, the
tokens of a sentence, a picture's lines, a series, the documents of one ranking. The answer
has its say afterwards: see ``slicing.is_in_parts``.
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
FRAME = "pd"  # the codec of MLServer that sends one input a column


@dataclass(frozen=True, slots=True)
class Form:
    """What is known of an input without its values."""

    datatype: str
    shape: tuple[int, ...]

    @property
    def is_column(self) -> bool:
        """One value a row: [N] or [N, 1]."""
        return len(self.shape) == 1 or self.shape[1:] == (1,)


def count_rows(
    inputs: Sequence[Form], parameters: Mapping[str, Any], task_type: str | None
) -> int:
    """How many rows the inputs come in; 1 where they are, or may be, one input."""
    counts = {each.shape[:1] for each in inputs}
    if len(counts) != 1 or not (count := next(iter(counts))) or count[0] < 2:
        return 1
    return count[0] if _are_rows(inputs, parameters, task_type or "") else 1


def _are_rows(
    inputs: Sequence[Form], parameters: Mapping[str, Any], task_type: str
) -> bool:
    if task_type.startswith(TABULAR):
        # Of one input [N] nobody knows whether it is N rows or a row of N features.
        several = len(inputs) > 1 or is_frame(parameters)
        return several or len(inputs[0].shape) > 1
    if task_type.startswith(TEXT):
        # Tokens as numbers are rows only in two dimensions.
        texts = any(each.datatype == "BYTES" for each in inputs)
        return texts or all(len(each.shape) > 1 for each in inputs)
    if task_type.startswith(PICTURES):
        return any(
            each.is_column
            if each.datatype == "BYTES"
            else len(each.shape) >= PICTURE_RANK
            for each in inputs
        )
    return False


def is_frame(parameters: Mapping[str, Any]) -> bool:
    return parameters.get("content_type") == FRAME


def forms_of(request: InferRequest) -> list[Form]:
    return [Form(each.datatype, each.shape) for each in request.inputs]


def count_rows_of(request: InferRequest, task_type: str | None) -> int:
    """As ``count_rows``, held against how many values there are."""
    count = count_rows(forms_of(request), request.parameters, task_type)
    if count > 1 and any(len(each.data) % count for each in request.inputs):
        return 1
    return count


def tensors_of_row(request: InferRequest, index: int, count: int) -> list[Tensor]:
    """The inputs as if the row had been asked for alone."""
    rows = []
    for tensor in request.inputs:
        size = len(tensor.data) // count
        data = tensor.data[index * size : (index + 1) * size]
        rows.append(replace(tensor, shape=(1, *tensor.shape[1:]), data=data))
    return rows


def data_of_row(
    request: InferRequest, tensors: Sequence[Tensor], task_type: str | None
) -> tuple[bytes, str]:
    """What one row asks, and its content type.

    A text or picture is itself, and so is the only picture among other inputs. Columns are
    an object of values by their names, a single tensor of numbers is as it would be alone.
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
    """A single element as bytes, a single number as itself, else the values as a list."""
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
