"""Parse requests and responses: JSON, or a JSON header followed by raw tensors."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain
from struct import Struct
from typing import Any, TypeGuard

import numpy as np

from protocols.open_inference.bounded_json import V2Error, read_json
from protocols.open_inference.exact import keep_metadata_text

DTYPES = {
    "BOOL": np.dtype("u1"),
    **{f"INT{bits}": np.dtype(f"<i{bits // 8}") for bits in (8, 16, 32, 64)},
    **{f"UINT{bits}": np.dtype(f"<u{bits // 8}") for bits in (8, 16, 32, 64)},
    **{f"FP{bits}": np.dtype(f"<f{bits // 8}") for bits in (16, 32, 64)},
    "BF16": np.dtype("<u2"),
}
LENGTH = Struct("<I")  # stands before each element of raw BYTES


@dataclass(frozen=True, slots=True)
class Tensor:
    """An input or output. ``data`` is flat, in row-major order.

    From JSON it is a list; from raw bytes a NumPy array, or for BYTES a list of ``bytes``. Its
    length is not checked against the shape.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    data: list[Any] | np.ndarray
    parameters: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class InferRequest:
    """A parsed request."""

    id: str | None
    parameters: dict[str, Any]
    inputs: tuple[Tensor, ...]
    outputs: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class InferResponse:
    """A parsed response."""

    model_name: str | None
    model_version: str | None
    id: str | None
    parameters: dict[str, Any]
    outputs: tuple[Tensor, ...]


def read_request(
    body: bytes,
    header_length: int | None = None,
    warnings: list[str] | None = None,
) -> InferRequest:
    """Return the request in a body. Raises ``V2Error``.

    With a header length of 0 the whole body is one raw input. If a list for warnings is given,
    metadata keeps the text that it was written as.
    """
    if header_length == 0:
        return InferRequest(None, {}, (Tensor("", "BYTES", (1,), [body]),))
    document, raw = read_document(body, header_length)
    if warnings is not None:
        warnings += keep_metadata_text(document, body[:header_length])
    outputs = document.get("outputs")
    return InferRequest(
        id=_text(document.get("id")),
        parameters=_object(document.get("parameters")),
        inputs=_tensors(document, "inputs", raw),
        outputs=tuple(outputs) if isinstance(outputs, list) else (),
    )


def read_response(body: bytes, header_length: int | None = None) -> InferResponse:
    """Return the response in a body. Raises ``V2Error``."""
    document, raw = read_document(body, header_length)
    return InferResponse(
        model_name=_text(document.get("model_name")),
        model_version=_text(document.get("model_version")),
        id=_text(document.get("id")),
        parameters=_object(document.get("parameters")),
        outputs=_tensors(document, "outputs", raw),
    )


def tensor_value(tensor: Tensor) -> dict[str, Any]:
    """Return the tensor as JSON holds it: plain lists; bytes that are not text in base64."""
    data = plain_data(tensor)
    parameters = {k: v for k, v in tensor.parameters.items() if k != "binary_data_size"}
    if isinstance(data, np.ndarray):
        data = data.tolist()
    elif _is_raw(tensor.data) and not _is_text(tensor.data):
        parameters["content_type"] = "base64"
    value = {
        "name": tensor.name,
        "datatype": tensor.datatype,
        "shape": list(tensor.shape),
        "data": data,
    }
    return {**value, "parameters": parameters} if parameters else value


def plain_data(tensor: Tensor) -> list[Any] | np.ndarray:
    """Return the data without ``bytes``: as text if all of it is UTF-8, else all in base64."""
    data = tensor.data
    if not _is_raw(data):
        return data
    if _is_text(data):
        return [item.decode() for item in data]
    return [base64.b64encode(item).decode() for item in data]


def read_document(
    body: bytes, header_length: int | None
) -> tuple[dict[str, Any], memoryview]:
    """Return the JSON object, and the raw tensors after it. Raises ``V2Error``."""
    if header_length is None:
        header_length = len(body)
    if not 0 <= header_length <= len(body):
        raise V2Error(
            f"The header length {header_length} does not lie within the body of "
            f"{len(body)} bytes."
        )
    document = read_json(body[:header_length])
    if not isinstance(document, dict):
        raise V2Error("The body is not a JSON object.")
    return document, memoryview(body)[header_length:]


def _tensors(
    document: dict[str, Any], member: str, raw: memoryview
) -> tuple[Tensor, ...]:
    entries = document.get(member)
    if not isinstance(entries, list):
        raise V2Error(f"'{member}' is not a list.")
    return tuple(_read_tensors(entries, member, raw))


def _read_tensors(entries: list[Any], member: str, raw: memoryview) -> Iterator[Tensor]:
    for entry in entries:
        if not isinstance(entry, dict):
            raise V2Error(f"'{member}' holds something that is not an object.")
        name = _text(entry.get("name")) or ""
        datatype = _text(entry.get("datatype")) or ""
        parameters = _object(entry.get("parameters"))
        size = parameters.get("binary_data_size")
        # Like Triton, prefer the raw bytes if there is ``data`` as well.
        if size is None or ("data" in entry and not raw):
            data: list[Any] | np.ndarray = _flat(entry.get("data"))
        else:
            if isinstance(size, bool) or not isinstance(size, int) or size < 0:
                raise V2Error(f"The binary_data_size of {name!r} is not a length.")
            if size > len(raw):
                raise V2Error(
                    f"The binary_data_size of {name!r} is {size}, but only {len(raw)} "
                    "bytes are left in the body."
                )
            data = _from_raw(name, datatype, raw[:size])
            raw = raw[size:]
        yield Tensor(name, datatype, _shape(entry.get("shape")), data, parameters)


def _flat(data: Any) -> list[Any]:
    """Return nested data as one list; a value that is not a list becomes a list of one."""
    if not isinstance(data, list):
        return [] if data is None else [data]
    # Look at the first and the last member only: there may be a million numbers.
    values: list[Any] = data
    while values and (type(values[0]) is list or type(values[-1]) is list):
        if set(map(type, values)) != {list}:
            return list(_leaves(values))
        values = list(chain.from_iterable(values))
    return values


def _leaves(data: list[Any]) -> Iterator[Any]:
    """Yield the values in lists of different depths, in one pass."""
    levels = [iter(data)]
    while levels:
        for item in levels[-1]:
            if type(item) is list:
                levels.append(iter(item))
                break
            yield item
        else:
            levels.pop()


def _from_raw(name: str, datatype: str, raw: memoryview) -> list[bytes] | np.ndarray:
    if datatype == "BYTES":
        return list(_frame(name, raw))
    if datatype not in DTYPES:
        return [bytes(raw)]
    dtype = DTYPES[datatype]
    if len(raw) % dtype.itemsize:
        raise V2Error(
            f"The {len(raw)} bytes of {name!r} are no whole number of {datatype}."
        )
    values: np.ndarray = np.frombuffer(raw, dtype)
    if datatype == "BOOL":
        return values.astype(bool)
    if datatype == "BF16":  # a BF16 is the upper two bytes of an FP32
        return (values.astype("<u4") << 16).view("<f4")
    return values


def _frame(name: str, raw: memoryview) -> Iterator[bytes]:
    start = 0
    while start < len(raw):
        begin = start + LENGTH.size
        end = begin + LENGTH.unpack_from(raw, start)[0] if begin <= len(raw) else begin
        if end > len(raw):
            raise V2Error(f"The elements of {name!r} do not fill its binary data.")
        yield bytes(raw[begin:end])
        start = end


def _is_raw(data: list[Any] | np.ndarray) -> TypeGuard[list[bytes]]:
    return isinstance(data, list) and bool(data) and isinstance(data[0], bytes)


def _is_text(items: list[bytes]) -> bool:
    try:
        return all(item.decode() is not None for item in items)
    except UnicodeDecodeError:
        return False


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return str(value)


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _shape(value: Any) -> tuple[int, ...]:
    if not isinstance(value, list):
        return ()
    known = all(type(size) is int for size in value)
    return tuple(value) if known else ()
