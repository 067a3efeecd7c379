"""Split a request into the inferences that it asks for."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace
from typing import Any, TypeGuard

import orjson

from protocols.open_inference.elements import JSON, decode, sniff, tensor_json
from protocols.open_inference.metadata import parameters_by_part
from protocols.open_inference.parameters import merge
from protocols.open_inference.rows import (
    count_rows_of,
    data_of_row,
    is_frame,
    tensors_of_row,
)
from protocols.open_inference.standard_base64 import without_base64
from protocols.open_inference.tensors import InferRequest, Tensor, tensor_value

NUMPY = orjson.OPT_SERIALIZE_NUMPY


@dataclass(frozen=True, slots=True)
class Part:
    """One inference of a request: number ``index`` of ``count``, from 0.

    ``tensor`` is the input that ``data`` came from: the first one if it came from several, None
    if there was none. ``tensors`` are all of them if ``data`` is JSON of several.
    ``is_from_base64`` says that base64 was decoded because the protocol demands it there.
    """

    index: int
    count: int
    tensor: Tensor | None
    data: bytes
    content_type: str
    parameters: dict[str, Any] = field(default_factory=dict)
    tensors: tuple[Tensor, ...] = ()
    is_from_base64: bool = False


@dataclass(frozen=True, slots=True)
class _Content:
    """The content of one part, before the number of parts is known."""

    tensor: Tensor | None
    data: bytes
    content_type: str
    parameters: dict[str, Any]
    tensors: tuple[Tensor, ...] = ()


def split(request: InferRequest, task_type: str | None = None) -> list[Part]:
    """Return one part for each image or row, else one part for the whole request.

    Several inputs of one image each are several inferences. So are one input of several images
    in the shape [N] or [N, 1], and a batch for the model's task type (``rows.py``). The data of
    a single part is the only image among its inputs; without an image, it is the bytes of a
    single element; anything else is JSON: the input, or the list of inputs. In ``data`` of the
    standard request, base64 is decoded if the inputs of the task are binary or text: see
    ``standard_base64.py``.
    """
    request, decoded_names = without_base64(request, task_type)
    singles = [_single_element(request, tensor) for tensor in request.inputs]
    if _are_images(singles):
        parts = _with_own_metadata(request, singles)
    elif batch := _images_in_batch(request) or _rows(request, task_type):
        parts = _with_own_metadata(request, batch)
    else:
        parts = [_whole(request, singles)]
    return [_part(n, len(parts), one, decoded_names) for n, one in enumerate(parts)]


def count_parts(request: InferRequest, task_type: str | None = None) -> int:
    """Return how many parts ``split`` returns, without making them."""
    request, _ = without_base64(request, task_type)
    singles = [_single_element(request, tensor) for tensor in request.inputs]
    if _are_images(singles):
        return len(singles)
    return len(_images_in_batch(request)) or count_rows_of(request, task_type)


def as_one(request: InferRequest, task_type: str | None = None) -> Part:
    """Return the request as one inference, whatever inputs it has.

    It is used if the response does not come in as many parts. If there are several inputs or
    elements, the data is JSON: each input with its name, datatype, shape and data. Bytes that
    are not text are in base64 there, and marked so.
    """
    request, decoded_names = without_base64(request, task_type)
    inputs = tuple(
        replace(tensor, data=[decode(e, _of(request, tensor)) for e in tensor.data])
        if tensor.datatype == "BYTES"
        else tensor
        for tensor in request.inputs
    )
    values = [_describe(tensor) for tensor in inputs]
    data = orjson.dumps(values if len(values) > 1 else values[0], option=NUMPY)
    one = _Content(
        inputs[0], data, JSON, _parameters(request, request.inputs[0]), inputs
    )
    return _part(0, 1, one, decoded_names)


def _are_images(singles: list[_Content | None]) -> TypeGuard[list[_Content]]:
    return bool(singles) and all(single and _is_image(single) for single in singles)


def _rows(request: InferRequest, task_type: str | None) -> list[_Content]:
    """Return one part for each row of a batch; an empty list if it is no batch.

    The single row of a data frame is written as rows of several are.
    """
    count = count_rows_of(request, task_type)
    shapes = {tensor.shape[:1] for tensor in request.inputs}
    if count == 1 and not (is_frame(request.parameters) and shapes == {(1,)}):
        return []
    rows = []
    for index in range(count):
        tensors = tensors_of_row(request, index, count)
        data, content_type = data_of_row(request, tensors, task_type)
        several = tuple(tensors) if len(tensors) > 1 else ()
        rows.append(_Content(tensors[0], data, content_type, {}, several))
    return rows


def _with_own_metadata(
    request: InferRequest, contents: list[_Content]
) -> list[_Content]:
    """Return the parts with metadata that the request, or its inputs, have for each part."""
    count, tensor = len(contents), request.inputs[0]
    shared = parameters_by_part(request.parameters, count)
    if len(request.inputs) == 1:
        own = parameters_by_part(tensor.parameters, count)
    else:
        others = [each.parameters for each in request.inputs]
        is_own = all(
            content.tensor is each
            for content, each in zip(contents, request.inputs, strict=False)
        )
        own = others if is_own and count == len(others) else [merge(*others)] * count
    return [
        replace(content, parameters=merge(mine, of_all))
        for content, mine, of_all in zip(contents, own, shared, strict=True)
    ]


def _part(
    number: int, count: int, one: _Content, decoded_names: Collection[str]
) -> Part:
    tensors = one.tensors or ((one.tensor,) if one.tensor else ())
    return Part(
        number,
        count,
        one.tensor,
        one.data,
        one.content_type,
        one.parameters,
        one.tensors,
        any(tensor.name in decoded_names for tensor in tensors),
    )


def _describe(tensor: Tensor) -> dict[str, Any]:
    value = tensor_value(replace(tensor, parameters={}))
    return {**value, "shape": tensor.shape}


def _of(request: InferRequest, tensor: Tensor) -> dict[str, Any]:
    return merge(tensor.parameters, request.parameters)


def _images_in_batch(request: InferRequest) -> list[_Content]:
    if len(request.inputs) != 1:
        return []
    (tensor,) = request.inputs
    count = len(tensor.data)
    if count == 1 or tensor.datatype != "BYTES":
        return []
    if tensor.shape not in ((count,), (count, 1)):
        return []
    images = []
    for image in _elements(request, tensor):
        if not _is_image(image):
            return []
        images.append(image)
    return images


def _whole(request: InferRequest, singles: list[_Content | None]) -> _Content:
    if len(singles) == 1:
        return singles[0] or _in_json(request)
    images = [
        (tensor, single)
        for tensor, single in zip(request.inputs, singles, strict=True)
        if single and _is_image(single)
    ]
    if len(images) != 1:
        return _in_json(request)
    ((tensor, image),) = images
    parameters = _parameters(request, tensor)
    return _Content(tensor, image.data, image.content_type, parameters)


def _in_json(request: InferRequest) -> _Content:
    if not request.inputs:
        return _Content(None, b"[]", JSON, request.parameters)
    first = request.inputs[0]
    data = tensor_json(*request.inputs)
    several = request.inputs if len(request.inputs) > 1 else ()
    return _Content(first, data, JSON, _parameters(request, first), several)


def _parameters(request: InferRequest, first: Tensor) -> dict[str, Any]:
    """Return the merged parameters of all inputs; those of the input of the data come first."""
    others = [tensor.parameters for tensor in request.inputs if tensor is not first]
    return merge(first.parameters, *others, request.parameters)


def _single_element(request: InferRequest, tensor: Tensor) -> _Content | None:
    if tensor.datatype != "BYTES" or len(tensor.data) != 1:
        return None
    return next(iter(_elements(request, tensor)))


def _elements(request: InferRequest, tensor: Tensor) -> Iterable[_Content]:
    parameters = _of(request, tensor)
    for item in tensor.data:
        data = decode(item, parameters)
        yield _Content(tensor, data, sniff(data), parameters)


def _is_image(content: _Content) -> bool:
    return content.content_type.startswith("image/")
