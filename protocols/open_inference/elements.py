"""The bytes of an input element, decoded from whatever the client wrapped them in."""

from __future__ import annotations

import base64
import binascii
import re
from codecs import utf_8_decode
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote_to_bytes

import filetype
import orjson

from protocols.open_inference.bounded_json import V2Error, read_json
from protocols.open_inference.tensors import Tensor, plain_data

JSON = "application/json"
TEXT = "text/plain; charset=utf-8"
BYTES = "application/octet-stream"

DECLARED = ("base64", "b64", "binary")
DATA_URL = re.compile(
    r"data:(?P<type>[\w.+-]+/[\w.+-]+)?(?:;[\w.+-]+=[\w.+-]+)*(?P<base64>;base64)?,",
    re.IGNORECASE | re.ASCII,
)
CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
HEAD = 64  # bytes looked at to tell text from binary data
# File formats that begin with text. If the data begin with text and match any other format,
# that is by chance: "BMW" is a word and not a bitmap.
TEXTUAL = (b"%PDF", b"{\\rtf", b"%!PS")
# Undeclared base64 must have this many characters: no image has fewer, and a shorter word
# may decode to anything.
SHORTEST_BASE64 = 32
BASE64_HEAD = 512  # characters decoded to look for a known file type


def element_bytes(tensor: Tensor, index: int = 0) -> bytes:
    """Return one element of a BYTES tensor, decoded; for other datatypes the tensor as JSON."""
    if tensor.datatype != "BYTES":
        return tensor_json(tensor)
    return decode(tensor.data[index], tensor.parameters)


def decode(item: Any, parameters: Mapping[str, Any]) -> bytes:
    """Return the bytes of an element, decoded from base64 where that is declared or evident."""
    if isinstance(item, bytes):
        return item
    if isinstance(item, dict) and item.keys() == {"b64"}:  # TensorFlow Serving's form
        item, parameters = item["b64"], {"content_type": "base64"}
    if not isinstance(item, str):
        return orjson.dumps(item)
    if found := DATA_URL.match(item[:256]):
        whole = _from_data_url(item, found)
    elif _is_declared(parameters):
        whole = _from_any_base64(item)
    else:
        whole = _from_evident_base64(item)
    return item.encode() if whole is None else whole


def tensor_json(*tensors: Tensor) -> bytes:
    """Return one tensor as a JSON object, several as a list of them, without parameters."""
    values = [
        {
            "name": tensor.name,
            "datatype": tensor.datatype,
            "shape": tensor.shape,
            "data": plain_data(tensor),
        }
        for tensor in tensors
    ]
    value = values[0] if len(values) == 1 else values
    return orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY)


def sniff(data: bytes) -> str:
    """Return the content type, judging by the bytes alone."""
    if not _begins_as_text(data) or data.startswith(TEXTUAL):
        known = filetype.guess(data[:8192])
        return known.mime if known else BYTES
    if _is_json(data):
        return JSON
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return BYTES
    return BYTES if "\0" in text else TEXT


def _begins_as_text(data: bytes) -> bool:
    try:
        text, _ = utf_8_decode(data[:HEAD], "strict", False)
    except UnicodeDecodeError:
        return False
    return not CONTROL.search(text)


def _is_json(data: bytes) -> bool:
    bare = data[:HEAD].lstrip()
    if not bare.startswith((b"{", b"[")):
        return False
    try:
        read_json(data)
    except V2Error:
        return False
    return True


def _is_declared(parameters: Mapping[str, Any]) -> bool:
    declared = (parameters.get("content_type"), parameters.get("encoding"))
    return any(isinstance(word, str) and word.lower() in DECLARED for word in declared)


def _from_data_url(text: str, found: re.Match[str]) -> bytes | None:
    rest = text[found.end() :]
    if found["base64"]:
        return _from_any_base64(rest)
    return unquote_to_bytes(rest) if found["type"] else None


def _from_any_base64(text: str) -> bytes | None:
    """Return the decoded text, of either alphabet, with or without padding and line ends.

    None if it is not base64.
    """
    text = "".join(text.split()).translate({ord("-"): "+", ord("_"): "/"}).rstrip("=")
    return _strict(text + "=" * (-len(text) % 4))


def _from_evident_base64(text: str) -> bytes | None:
    """Return the decoded text if it is strict base64 of a known file type, else None."""
    text = text.strip()
    if len(text) < SHORTEST_BASE64 or len(text) % 4:
        return None
    head = _strict(text[:BASE64_HEAD])
    if head is None or sniff(head) in (JSON, TEXT, BYTES):
        return None
    return _strict(text)


def _strict(text: str) -> bytes | None:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
