"""Messages of the open inference protocol, for this server and its client.

Source: kserve/open-inference-protocol, ``inference_rest.md``, and Triton's
``extension_binary_data.md``: JSON, or a JSON header and raw little-endian tensors.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from math import prod
from struct import Struct
from typing import Any

import numpy as np

HEADER_LENGTH = "Inference-Header-Content-Length"
DTYPES = {
    "BOOL": np.dtype("?"),
    **{f"INT{bits}": np.dtype(f"<i{bits // 8}") for bits in (8, 16, 32, 64)},
    **{f"UINT{bits}": np.dtype(f"<u{bits // 8}") for bits in (8, 16, 32, 64)},
    **{f"FP{bits}": np.dtype(f"<f{bits // 8}") for bits in (16, 32, 64)},
}
LENGTH = Struct("<I")
# How pictures begin; what decodes to one of these was base64, said or not.
PICTURES = (
    b"\x89PNG\r\n",
    b"\xff\xd8\xff",
    b"GIF8",
    b"RIFF",
    b"BM",
    b"II*\0",
    b"MM\0*",
)


class V2Error(ValueError):
    """A request that cannot be answered; the text is for the person who sent it."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """An input or output. ``values`` is flat: an array, or for BYTES a list.

    A ``str`` in the list is written as text, ``bytes`` in JSON as base64. What was read
    holds ``bytes`` alone, base64 taken off.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    values: np.ndarray | list[Any]
    parameters: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Request:
    """What a client asks. ``wanted`` names the outputs it asked for, all when empty."""

    id: str | None
    inputs: list[Tensor]
    wanted: tuple[str, ...]
    all_binary: bool
    binary: dict[str, bool]

    def is_binary(self, name: str) -> bool:
        """Whether that output goes out as raw bytes."""
        return self.binary.get(name, self.all_binary)


def read_request(body: bytes, header_length: str | None) -> Request:
    document, raw = _read_document(body, header_length)
    inputs = document.get("inputs")
    if not isinstance(inputs, list) or not inputs:
        raise V2Error("'inputs' must be a list with at least one tensor.")
    outputs = _objects(document.get("outputs") or [], "outputs")
    own = {str(tensor.get("name")): _parameters(tensor) for tensor in outputs}
    binary = {
        name: bool(each["binary_data"])
        for name, each in own.items()
        if "binary_data" in each
    }
    name = document.get("id")
    return Request(
        id=None if name in (None, "") else str(name),
        inputs=list(_read_tensors(_objects(inputs, "inputs"), raw)),
        wanted=tuple(own),
        all_binary=bool(_parameters(document).get("binary_data_output")),
        binary=binary,
    )


def write_message(
    document: dict[str, Any], member: str, tensors: Iterable[tuple[Tensor, bool]]
) -> tuple[bytes, int | None]:
    """The body, and the length of its JSON header if any tensor goes raw (``True``)."""
    entries, chunks = [], []
    for tensor, is_raw in tensors:
        entry = {
            "name": tensor.name,
            "datatype": tensor.datatype,
            "shape": list(tensor.shape),
        }
        parameters = dict(tensor.parameters)
        if is_raw:
            chunks.append(_raw(tensor))
            parameters["binary_data_size"] = len(chunks[-1])
        else:
            entry["data"] = _plain(tensor, parameters)
        entries.append(entry | ({"parameters": parameters} if parameters else {}))
    header = json.dumps(document | {member: entries}).encode()
    return header + b"".join(chunks), len(header) if chunks else None


def _read_document(
    body: bytes, header_length: str | None
) -> tuple[dict[str, Any], memoryview]:
    end = len(body)
    if header_length is not None:
        if not header_length.isdecimal() or int(header_length) > len(body):
            raise V2Error(
                f"{HEADER_LENGTH} {header_length!r} is no length within the body."
            )
        end = int(header_length)
    try:
        document = json.loads(body[:end])
    except (ValueError, RecursionError) as error:
        raise V2Error(f"The body is not valid JSON: {error}.") from None
    if not isinstance(document, dict):
        raise V2Error("The body is not a JSON object.")
    return document, memoryview(body)[end:]


def _read_tensors(entries: list[dict[str, Any]], raw: memoryview) -> Iterator[Tensor]:
    for entry in entries:
        name, datatype = str(entry.get("name")), str(entry.get("datatype"))
        if datatype != "BYTES" and datatype not in DTYPES:
            raise V2Error(f"Input {name!r} has the unknown datatype {datatype!r}.")
        parameters, shape = _parameters(entry), _shape(entry)
        size = parameters.get("binary_data_size")
        if size is None:
            values = _from_json(name, datatype, entry.get("data"), parameters)
        elif type(size) is not int or not 0 <= size <= len(raw):
            raise V2Error(f"binary_data_size of {name!r} is not within the body.")
        else:
            values, raw = _from_raw(name, datatype, raw[:size]), raw[size:]
        if len(values) != prod(shape):
            raise V2Error(
                f"Input {name!r} has {len(values)} elements, not those of {list(shape)}."
            )
        yield Tensor(name, datatype, shape, values, parameters)


def _from_json(
    name: str, datatype: str, data: Any, parameters: dict[str, Any]
) -> np.ndarray | list[bytes]:
    if data is None:
        raise V2Error(f"Input {name!r} has no data.")
    if datatype == "BYTES":
        is_base64 = parameters.get("content_type") == "base64"
        return [_element(name, item, is_base64) for item in _flat(data)]
    try:
        return np.asarray(data, DTYPES[datatype]).reshape(-1)
    except (ValueError, TypeError, OverflowError):
        raise V2Error(f"The data of {name!r} is not all {datatype}.") from None


def _from_raw(name: str, datatype: str, raw: memoryview) -> np.ndarray | list[bytes]:
    if datatype == "BYTES":
        return list(_framed(name, raw))
    if len(raw) % DTYPES[datatype].itemsize:
        raise V2Error(f"The binary data of {name!r} is no whole number of {datatype}.")
    return np.frombuffer(raw, DTYPES[datatype])


def _framed(name: str, raw: memoryview) -> Iterator[bytes]:
    while raw:
        end = LENGTH.size
        if len(raw) >= end:
            end += LENGTH.unpack_from(raw)[0]
        if end > len(raw):
            raise V2Error(f"The elements of {name!r} do not fill its binary data.")
        yield bytes(raw[LENGTH.size : end])
        raw = raw[end:]


def _element(name: str, item: Any, is_base64: bool) -> bytes:
    if not isinstance(item, str):
        raise V2Error(f"The data of {name!r} is not all text.")
    try:
        decoded = base64.b64decode(item, validate=True)
    except (binascii.Error, ValueError):
        if is_base64:
            raise V2Error(f"The data of {name!r} is not base64.") from None
        decoded = b""
    return decoded if is_base64 or decoded.startswith(PICTURES) else item.encode()


def _flat(data: Any) -> Iterator[Any]:
    """Nested lists row by row; a bare value is a list of one."""
    if isinstance(data, list):
        for item in data:
            yield from _flat(item)
    else:
        yield data


def _plain(tensor: Tensor, parameters: dict[str, Any]) -> list[Any]:
    if tensor.datatype != "BYTES":
        values: list[Any] = np.asarray(tensor.values).tolist()
        return values
    if not any(isinstance(item, bytes) for item in tensor.values):
        return list(tensor.values)
    parameters["content_type"] = "base64"
    return [base64.b64encode(item).decode() for item in _encoded(tensor)]


def _raw(tensor: Tensor) -> bytes:
    if tensor.datatype != "BYTES":
        return np.asarray(tensor.values, DTYPES[tensor.datatype]).tobytes()
    return b"".join(LENGTH.pack(len(item)) + item for item in _encoded(tensor))


def _encoded(tensor: Tensor) -> list[bytes]:
    return [item.encode() if isinstance(item, str) else item for item in tensor.values]


def _objects(entries: Any, member: str) -> list[dict[str, Any]]:
    if isinstance(entries, list) and all(isinstance(entry, dict) for entry in entries):
        return entries
    raise V2Error(f"'{member}' must be a list of objects.")


def _parameters(holder: dict[str, Any]) -> dict[str, Any]:
    parameters = holder.get("parameters") or {}
    if not isinstance(parameters, dict):
        raise V2Error("'parameters' must be an object.")
    return parameters


def _shape(entry: dict[str, Any]) -> tuple[int, ...]:
    shape = entry.get("shape")
    if isinstance(shape, list) and all(type(n) is int and n >= 0 for n in shape):
        return tuple(shape)
    raise V2Error(f"Input {entry.get('name')!r} has no shape of whole numbers.")
