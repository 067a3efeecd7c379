"""A request, taken apart into the inferences it asks for."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from services.v2.elements import JSON, decoded, sniff, tensor_json
from services.v2.tensors import InferRequest, Tensor


@dataclass(frozen=True, slots=True)
class Part:
    """One inference of a request: the ``index``-th of ``count``.

    ``tensor`` is the input ``data`` came from, the first one when it came from several,
    and None when there was none.
    """

    index: int
    count: int
    tensor: Tensor | None
    data: bytes
    content_type: str
    parameters: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Asked:
    """What one part is made of, before it is known how many there are."""

    tensor: Tensor | None
    data: bytes
    content_type: str
    parameters: dict[str, Any]


def split(request: InferRequest) -> list[Part]:
    """One part per image, else one part for the whole request.

    Several inputs of one image each are several inferences, and so is one input of
    several images in the shape [N] or [N, 1]. The only image among other inputs is the
    data of the one part; without an image, that is the bytes of a single element, and
    of anything else JSON: the input, or the list of inputs.
    """
    singles = [_single_element(request, tensor) for tensor in request.inputs]
    if singles and all(single and _is_image(single) for single in singles):
        asked = singles
    else:
        asked = _images_in_batch(request) or [_whole(request, singles)]
    return [
        Part(n, len(asked), one.tensor, one.data, one.content_type, one.parameters)
        for n, one in enumerate(asked)
    ]


def merged(*sources: dict[str, Any]) -> dict[str, Any]:
    """Parameters together: the first to name one wins, metadata is a list of all."""
    together = {name: source[name] for source in reversed(sources) for name in source}
    metadata = [each["metadata"] for each in sources if each.get("metadata")]
    if len(metadata) > 1:
        together["metadata"] = [
            each if isinstance(each, str) else json.dumps(each) for each in metadata
        ]
    return together


def _images_in_batch(request: InferRequest) -> list[_Asked]:
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


def _whole(request: InferRequest, singles: list[_Asked | None]) -> _Asked:
    if len(singles) == 1:
        return singles[0] or _in_json(request)
    images = [single for single in singles if single and _is_image(single)]
    if len(images) != 1:
        return _in_json(request)
    (image,) = images
    parameters = _parameters(request, image.tensor)
    return _Asked(image.tensor, image.data, image.content_type, parameters)


def _in_json(request: InferRequest) -> _Asked:
    if not request.inputs:
        return _Asked(None, b"[]", JSON, request.parameters)
    first = request.inputs[0]
    data = tensor_json(*request.inputs)
    return _Asked(first, data, JSON, _parameters(request, first))


def _parameters(request: InferRequest, first: Tensor) -> dict[str, Any]:
    """Of all inputs, those of the one that gave the data before the others."""
    others = [each.parameters for each in request.inputs if each is not first]
    return merged(first.parameters, *others, request.parameters)


def _single_element(request: InferRequest, tensor: Tensor) -> _Asked | None:
    if tensor.datatype != "BYTES" or len(tensor.data) != 1:
        return None
    return next(iter(_elements(request, tensor)))


def _elements(request: InferRequest, tensor: Tensor) -> Iterable[_Asked]:
    parameters = merged(tensor.parameters, request.parameters)
    for item in tensor.data:
        data = decoded(item, parameters)
        yield _Asked(tensor, data, sniff(data), parameters)


def _is_image(asked: _Asked) -> bool:
    return asked.content_type.startswith("image/")
