"""Messages of the V2 protocol, in JSON and with raw data."""

from __future__ import annotations

import base64
import struct

import orjson
from hypothesis import strategies as st

from protocols.open_inference import (
    read_request,
    read_response,
)

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAA"
    "AABJRU5ErkJggg=="
)

GIF = base64.b64decode("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7")

JPEG = b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01" + bytes(30)

ARRAYS = {
    "BOOL": "?",
    "UINT8": "<u1",
    "INT16": "<i2",
    "INT64": "<i8",
    "UINT64": "<u8",
    "FP16": "<f2",
    "FP32": "<f4",
    "FP64": "<f8",
}

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters())  # lone surrogates too
    | st.sampled_from(["key", "string", "int", "float", "json", "NaN", "1e999", "[[["]),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4)
    ),
    max_leaves=12,
)


def in_base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def framed(*elements: bytes) -> bytes:
    return b"".join(struct.pack("<I", len(each)) + each for each in elements)


def tensor(data, name="x", datatype="BYTES", shape=None, **parameters) -> dict:
    shape = [len(data)] if shape is None else shape
    value = {"name": name, "datatype": datatype, "shape": shape, "data": data}
    return {**value, "parameters": parameters} if parameters else value


def request_of(*inputs: dict, **members):
    return read_request(orjson.dumps({"inputs": inputs, **members}))


def response_of(*outputs: dict, **members):
    return read_response(orjson.dumps({"outputs": outputs, **members}))


def binary(*tensors: tuple[dict, bytes], **members) -> tuple[bytes, int]:
    """A body with raw tensors, and the length of its header."""
    inputs = []
    for entry, raw in tensors:
        parameters = {**entry.get("parameters", {}), "binary_data_size": len(raw)}
        inputs.append({**entry, "parameters": parameters})
        inputs[-1].pop("data", None)
    header = orjson.dumps({"inputs": inputs, **members})
    return header + b"".join(raw for _, raw in tensors), len(header)


def item(key, type, value) -> dict:
    return {"key": key, "type": type, "value": value}
