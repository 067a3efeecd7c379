"""What a request body asks for, as far as the proxy has to know before it forwards it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from istore.uuids import uuid7
from proxy import limits
from proxy.answers import Refused
from proxy.encodings import TooLarge, check_encoding, decoded
from proxy.headers import HEADER_LENGTH, Headers
from proxy.paths import is_id
from services.v2 import V2Error, read_json, read_request, split, strip_metadata

LARGE = 256 * 2**10  # what is larger is read in a thread

Result = TypeVar("Result")


@dataclass(slots=True)
class Asked:
    """``ids`` has one for each part.

    ``body`` is without its content encoding, and empty when it is not ours to read.
    """

    body: bytes
    header_length: int | None
    ids: list[str]
    is_named: bool


async def read_asked(body: bytes, headers: Headers) -> Asked:
    """Raises ``Refused`` for what cannot be kept: then nothing is forwarded either."""
    encoding = headers.encoding()
    check_encoding(encoding)
    if encoding or len(body) > LARGE:
        return await asyncio.to_thread(
            _refusing, lambda: _read(body, headers, encoding)
        )
    return _refusing(lambda: _read(body, headers, ""))


def nothing_asked() -> Asked:
    """For a body that is passed on unread."""
    return Asked(b"", None, [uuid7()], is_named=False)


async def without_metadata(asked: Asked) -> tuple[bytes, int | None]:
    if len(asked.body) > LARGE:
        return await asyncio.to_thread(strip_metadata, asked.body, asked.header_length)
    return strip_metadata(asked.body, asked.header_length)


def read_header_length(text: bytes | None) -> int | None:
    if text is None:
        return None
    if not (text.isdigit() and len(text) <= 19):
        raise Refused(400, "Inference-Header-Content-Length is not a number.")
    return int(text)


def _refusing(read: Callable[[], Result]) -> Result:
    try:
        return read()
    except TooLarge as error:
        raise Refused(413, str(error)) from error
    except ValueError as error:
        raise Refused(400, str(error)) from error


def _read(body: bytes, headers: Headers, encoding: str) -> Asked:
    header_length = read_header_length(headers.get(HEADER_LENGTH))
    body = decoded(body, encoding, limits.PROXY_MAX_REQUEST_BYTES)
    if header_length == 0:  # the whole body is one tensor
        return Asked(body, 0, [uuid7()], is_named=False)
    document = _read_header(body, header_length)
    given = document.get("id")
    given = None if given == "" else given  # Triton's clients mean none by it
    if given is not None and not (isinstance(given, str) and is_id(given)):
        most = limits.ID_MAX_CHARS
        raise V2Error(
            f"'id' is not a text of 1 to {most} characters without control "
            "characters, other than '.' and '..'."
        )
    count = _count_parts(document, body, header_length)
    ids = part_ids(given or uuid7(), count)
    return Asked(body, header_length, ids, is_named=given is not None)


def part_ids(request_id: str, count: int) -> list[str]:
    """The id for a single part; else one with its number, cut where that is too long."""
    if count == 1:
        return [request_id]
    most = limits.ID_MAX_CHARS
    return [f"{request_id[: most - len(str(n)) - 1]}-{n}" for n in range(count)]


def _read_header(body: bytes, header_length: int | None) -> dict[str, Any]:
    if header_length is not None and header_length > len(body):
        raise V2Error(
            f"The header length {header_length} does not lie within the body of "
            f"{len(body)} bytes."
        )
    document = read_json(
        body if header_length is None else body[:header_length],
        limits.JSON_MAX_DEPTH,
    )
    if not isinstance(document, dict):
        raise V2Error("The body is not a JSON object.")
    return document


def _count_parts(
    document: dict[str, Any], body: bytes, header_length: int | None
) -> int:
    """How many inferences it is. Taken apart only if it may be more than one."""
    inputs = document.get("inputs")
    if not isinstance(inputs, list) or not _may_be_several(inputs):
        return 1
    try:
        return len(split(read_request(body, header_length)))
    except V2Error:  # the upstream may take it; it is kept as it came
        return 1


def _may_be_several(inputs: list[Any]) -> bool:
    if not all(isinstance(e, dict) and e.get("datatype") == "BYTES" for e in inputs):
        return False
    if len(inputs) != 1:
        return len(inputs) > 1
    # Several elements of one input are several parts in the shapes [N] and [N, 1] alone.
    shape = inputs[0].get("shape")
    return isinstance(shape, list) and shape != [1] and shape != [1, 1]
