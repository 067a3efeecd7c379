"""Base64 in ``data`` of the standard request, where nothing declares it.

The store's protocol says: where ``parameters.action`` is given, ``data`` of a BYTES input is
base64. Not every client follows that. So it is decoded only if it is strict base64 and the
inputs of the task are binary or text. A word may be base64 by chance, too: "Kilo" is three bytes
of ASCII. So for a text model the decoded bytes must be readable text, and what was sent must not
look like a word. Either all elements of an input are decoded, or none is.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import replace
from typing import Any

from protocols.open_inference.actions import ACTIONS
from protocols.open_inference.elements import CONTROL, DATA_URL
from protocols.open_inference.parameters import merge
from protocols.open_inference.tensors import InferRequest, Tensor

BINARY = ("Image", "Detection")
TEXTUAL = ("Text", "Named Entity")
WORD = re.compile(r"[A-Za-z]?[a-z]*|[A-Z]+|[0-9]+")
SHORT = 8  # an unpadded text of fewer characters may decode to readable text by chance


def without_base64(
    request: InferRequest, task_type: str | None
) -> tuple[InferRequest, frozenset[str]]:
    """Return the request with decoded bytes, and the names of the inputs that were decoded."""
    is_binary = any(each in (task_type or "") for each in BINARY)
    if not is_binary and not any(each in (task_type or "") for each in TEXTUAL):
        return request, frozenset()
    inputs = [_decode(request, tensor, is_binary) for tensor in request.inputs]
    names = frozenset(
        new.name
        for new, old in zip(inputs, request.inputs, strict=True)
        if new is not old
    )
    return (replace(request, inputs=tuple(inputs)) if names else request), names


def _decode(request: InferRequest, tensor: Tensor, is_binary: bool) -> Tensor:
    data = tensor.data
    if tensor.datatype != "BYTES" or not _is_standard(request, tensor):
        return tensor
    if not data or not all(type(each) is str for each in data):
        return tensor
    if any(DATA_URL.match(each[:256]) for each in data):
        return tensor
    if not is_binary and all(map(_is_word, data)):
        return tensor
    found: list[bytes] = []
    for text in data:
        item = strictly_decoded(text)
        if item is None or not (is_binary or _is_readable(item, text)):
            return tensor
        found.append(item)
    return replace(tensor, data=found)


def strictly_decoded(text: str) -> bytes | None:
    """Return the decoded text, or None unless it is the one canonical base64 of its value.

    That is: of the standard alphabet, padded, and without unused bits that are set.
    """
    try:
        found = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return found if found and base64.b64encode(found).decode() == text else None


def _is_standard(request: InferRequest, tensor: Tensor) -> bool:
    """Return whether an action is given, and no parameter says how ``data`` is encoded."""
    parameters: dict[str, Any] = merge(tensor.parameters, request.parameters)
    if parameters.get("content_type") or parameters.get("encoding"):
        return False
    action = parameters.get("action")
    return isinstance(action, str) and action.strip().lower() in ACTIONS


def _is_word(text: str) -> bool:
    return WORD.fullmatch(text) is not None


def _is_readable(item: bytes, text: str) -> bool:
    try:
        found = item.decode()
    except UnicodeDecodeError:
        return False
    if CONTROL.search(found):
        return False
    return len(text) >= SHORT or text.endswith("=") or found.isalnum()
