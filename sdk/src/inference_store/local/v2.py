"""A mock behind the Open Inference Protocol V2: parses its requests, writes its responses.

If an input has several elements, each is a request of its own, and outputs are numbered
(``text-0``, ``text-1``). Binary tensors are accepted; responses are JSON.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import struct
from typing import Any

from inference_store.mocks import BadRequest, Mock

# Format characters of ``struct`` by V2 data type.
NUMBERS = {
    "BOOL": "?",
    "INT8": "b",
    "INT16": "h",
    "INT32": "i",
    "INT64": "q",
    "UINT8": "B",
    "UINT16": "H",
    "UINT32": "I",
    "UINT64": "Q",
    "FP16": "e",
    "FP32": "f",
    "FP64": "d",
}
MAX_PARTS = 1000


def metadata(mock: Mock) -> dict[str, Any]:
    """Return the response of ``GET /v2/models/{name}``."""
    takes = {"name": mock.takes, "datatype": "BYTES", "shape": [-1]}
    if mock.takes == "features":
        takes = {"name": "features", "datatype": "FP64", "shape": [-1, -1]}
    return {
        "name": mock.name,
        "versions": ["1"],
        "platform": "inference_store_mock",
        "inputs": [takes],
        "outputs": [{"name": "answer", "datatype": "BYTES", "shape": [-1]}],
    }


def read_body(content: bytes, header_length: str | None) -> Any:
    """Return the JSON of a request, with the binary tensors after it in their inputs."""
    try:
        cut = len(content) if header_length is None else int(header_length)
        body = json.loads(content[:cut])
    except (ValueError, RecursionError):
        raise BadRequest("The body is not JSON.") from None
    rest = memoryview(content)[cut:]
    inputs = body.get("inputs") if isinstance(body, dict) else None
    for tensor in inputs if isinstance(inputs, list) else ():
        size = _parameters(tensor).get("binary_data_size")
        if size:
            if type(size) is not int or not 0 < size <= len(rest):
                raise BadRequest("There is less binary data than an input says.")
            tensor["data"] = _unpack(str(tensor.get("datatype")), bytes(rest[:size]))
            rest = rest[size:]
    return body


def answer(mock: Mock, body: Any) -> dict[str, Any]:
    """Return the V2 response of a mock to a V2 request. Raises BadRequest."""
    requests = _requests(mock, body)
    outputs = []
    for number, request in enumerate(requests):
        suffix = f"-{number}" if len(requests) > 1 else ""
        for output in _outputs(mock, mock.infer(request)):
            outputs.append({**output, "name": output["name"] + suffix})
    response = {"model_name": mock.name, "model_version": "1", "outputs": outputs}
    if isinstance(body.get("id"), str):
        response["id"] = body["id"]
    return response


def _requests(mock: Mock, body: Any) -> list[dict[str, Any]]:
    inputs = body.get("inputs") if isinstance(body, dict) else None
    if not isinstance(inputs, list) or not inputs:
        raise BadRequest("'inputs' is a list of tensors.")
    if not all(isinstance(tensor, dict) and "data" in tensor for tensor in inputs):
        raise BadRequest("An input is an object with data.")
    made = _rows(inputs) if mock.takes == "features" else _elements(mock, inputs)
    if not 1 <= len(made) <= MAX_PARTS:
        raise BadRequest(f"An input has 1 to {MAX_PARTS} elements.")
    return made


def _elements(mock: Mock, inputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = []
    for tensor in inputs:
        content_type = _parameters(tensor).get("content_type")
        for element in _flat(tensor["data"]):
            content = element.encode() if isinstance(element, str) else element
            if not isinstance(content, bytes):
                raise BadRequest(f"{mock.name} takes elements of the type BYTES.")
            if isinstance(element, str) and (
                content_type == "base64" or mock.takes == "image"
            ):
                content = _decode(content)
            if mock.takes == "image":
                made.append({"image": content})
            else:
                made.append({"text": content.decode(errors="replace")})
    return made


def _rows(inputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows of one tensor of rows, or of one tensor for each feature."""
    columns: dict[str, list[Any]] = {}
    for tensor in inputs:
        shape, data = tensor.get("shape"), _flat(tensor["data"])
        data = [e.decode(errors="replace") if isinstance(e, bytes) else e for e in data]
        wide = shape[-1] if isinstance(shape, list) and len(shape) > 1 else None
        if wide is None and len(inputs) == 1:
            wide = len(data)
        if wide in (None, 1):
            columns[str(tensor.get("name"))] = data
        elif type(wide) is not int or wide < 1 or len(data) % wide:
            raise BadRequest("The shape of an input does not fit its data.")
        else:
            name = str(tensor.get("name")) + "." if len(inputs) > 1 else ""
            columns |= {f"{name}{place}": data[place::wide] for place in range(wide)}
    if len({len(column) for column in columns.values()}) != 1:
        raise BadRequest("The inputs have different numbers of rows.")
    rows = zip(*columns.values())  # noqa: B905 - of one length, see above
    return [{"features": dict(zip(columns, row))} for row in rows]  # noqa: B905


def _outputs(mock: Mock, answer: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return an answer as tensors, one per column if all items have the same plain members."""
    names = list(mock.interface.outputSchema["items"]["properties"])
    if mock.name == "object-detection":
        corners = ("ymin", "xmin", "ymax", "xmax")
        boxes = [item[corner] for item in answer for corner in corners]
        return [
            _tensor("detection_boxes", "FP64", [len(answer), 4], boxes),
            _tensor("detection_labels", "BYTES", None, [i["label"] for i in answer]),
            _tensor("detection_scores", "FP64", None, [i["score"] for i in answer]),
        ]
    if names == ["embedding"]:
        vectors = [item["embedding"] for item in answer]
        flat = [number for vector in vectors for number in vector]
        return [_tensor("embedding", "FP64", [len(vectors), len(vectors[0])], flat)]
    if names == ["text"]:
        return [_tensor("text", "BYTES", None, [item["text"] for item in answer])]
    if names == ["value", "lower", "upper"]:
        return [
            _tensor(name, "FP64", None, [i[name] for i in answer]) for name in names
        ]
    return [_tensor("answer", "BYTES", None, [json.dumps(item) for item in answer])]


def _tensor(
    name: str, datatype: str, shape: list[int] | None, data: list[Any]
) -> dict[str, Any]:
    return {
        "name": name,
        "datatype": datatype,
        "shape": shape or [len(data)],
        "data": data,
    }


def _parameters(tensor: Any) -> dict[str, Any]:
    parameters = tensor.get("parameters") if isinstance(tensor, dict) else None
    return parameters if isinstance(parameters, dict) else {}


def _flat(data: Any) -> list[Any]:
    """Return the elements in row-major order; a bare text is one element."""
    elements: list[Any] = data if isinstance(data, list) else [data]
    while any(isinstance(element, list) for element in elements):
        elements = [
            inner
            for element in elements
            for inner in (element if isinstance(element, list) else [element])
        ]
    return elements


def _decode(text: bytes) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise BadRequest("An element is not base64.") from None


def _unpack(datatype: str, raw: bytes) -> list[Any]:
    if datatype == "BYTES":
        return _frames(raw)
    code = NUMBERS.get(datatype)
    if code is None or len(raw) % struct.calcsize("<" + code):
        raise BadRequest(f"The binary data is not of the type {datatype:.20}.")
    numbers = struct.unpack(f"<{len(raw) // struct.calcsize('<' + code)}{code}", raw)
    return [
        0.0 if number != number or math.isinf(number) else number for number in numbers
    ]


def _frames(raw: bytes) -> list[bytes]:
    """Return the elements of a BYTES tensor, each preceded by its length."""
    found, place = [], 0
    while place < len(raw):
        if place + 4 > len(raw):
            raise BadRequest("The binary data ends in mid-element.")
        (size,) = struct.unpack_from("<I", raw, place)
        place += 4
        if place + size > len(raw):
            raise BadRequest("The binary data ends in mid-element.")
        found.append(raw[place : place + size])
        place += size
    return found
