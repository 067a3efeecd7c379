"""Find the input of the inference in a plain JSON request."""

from __future__ import annotations

import base64
import binascii

import orjson

from protocols.open_inference import sniff

PICTURE = "image"


def input_of(body: bytes) -> tuple[bytes, str]:
    """Return the bytes to store as the input, and their content type.

    Of a request ``{"image": base64 or a data URL}`` they are the picture, else the request as
    it came.
    """
    if b'"image"' in body and (picture := _picture(body)) is not None:
        content_type = sniff(picture)
        if content_type.startswith("image/"):
            return picture, content_type
    return body, sniff(body)


def _picture(body: bytes) -> bytes | None:
    try:
        given = orjson.loads(body)[PICTURE]
        if given.startswith("data:"):
            given = given.partition(";base64,")[2]
        return base64.b64decode(given, validate=True) or None
    except (ValueError, TypeError, KeyError, AttributeError, binascii.Error):
        return None
