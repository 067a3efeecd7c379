"""Parse a request body as far as the proxy has to know before it forwards it.

Nothing is refused here. A request that cannot be parsed is the upstream's to refuse. Whatever
only the copy cannot handle (an unknown encoding, an invalid id) becomes a warning in the
record: the request is then kept as it came, or under an id of ours.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from istore.uuids import uuid7
from protocols.open_inference import (
    Form,
    V2Error,
    count_parts,
    count_rows,
    read_json,
    read_request,
    strip_metadata,
)
from proxy import limits
from proxy.http.encodings import Take, decode
from proxy.http.headers import HEADER_LENGTH, Headers
from proxy.parser_processes import is_light, parse, shared
from proxy.paths import is_id
from services.plain_batches import count_inputs, may_be_several

LARGE = 256 * 2**10  # bytes; larger bodies are hashed and decompressed in a thread


@dataclass(slots=True)
class ParsedRequest:
    """A request body and what was parsed from it.

    ``body`` is what is kept: without its content encoding, unless ``encoding`` says that it
    still has one. ``request_id`` is the caller's if ``is_wish``, else ours. ``is_told`` says
    that the body holds the id, so the upstream finds it there. ``parts`` is how many inferences
    the request is if its answer comes in as many parts. ``is_read`` is False if the body could
    not be parsed. ``warnings`` go to the record.
    """

    body: bytes
    header_length: int | None
    request_id: str
    is_wish: bool = False
    is_told: bool = False
    parts: int = 1
    is_read: bool = True
    encoding: str = ""
    warnings: list[str] = field(default_factory=list)


async def parse_request(
    body: bytes, headers: Headers, task_type: str, take: Take
) -> ParsedRequest:
    """Return the parsed request. Nothing is raised for a body that cannot be parsed.

    ``take`` reserves memory for the bytes that come out of a compressed body.
    """
    encoding = headers.encoding()
    try:
        plain = await inflate(body, encoding, limits.PROXY_MAX_REQUEST_BYTES, take)
    except ValueError as error:
        return as_it_came(body, error, encoding)
    try:
        header_length = _read_header_length(headers.get(HEADER_LENGTH))
        request = await _read(plain, header_length, task_type)
    except ValueError as error:
        return as_it_came(plain, error)
    request.body = plain
    return request


async def read_plain_request(
    body: bytes, headers: Headers, take: Take
) -> ParsedRequest:
    """Return a plain JSON request, which is not parsed, under an id of the caller's or of ours.

    ``parts`` is 1: see ``count_plain_inputs``.
    """
    encoding, limit = headers.encoding(), limits.PROXY_MAX_REQUEST_BYTES
    try:
        plain = await inflate(body, encoding, limit, take)
    except ValueError as error:
        request = as_it_came(body, error, encoding)
    else:
        request = ParsedRequest(plain, None, uuid7())
    given = unquote((headers.get(b"inference-id") or b"").decode("latin-1"))
    wish, warnings = wish_of(given)
    if wish:
        request.request_id, request.is_wish = wish, True
    request.warnings += warnings
    return request


async def count_plain_inputs(body: bytes, task_type: str) -> int:
    """Return the number of inputs; 1 if they cannot be parsed, which the server may refuse."""
    if not may_be_several(body, task_type):  # saves parsing of chats, which never are
        return 1
    try:
        return await parse(count_inputs, body, task_type)
    except ValueError:
        return 1


async def inflate(body: bytes, encoding: str, limit: int, take: Take) -> bytes:
    """Return the body without its content encoding. Raises ValueError if it cannot be decoded.

    It runs in a thread, not in a process: zlib releases the interpreter lock.
    """
    if not encoding:
        return body
    return await asyncio.to_thread(decode, body, encoding, limit, take)


def as_it_came(body: bytes, why: object, encoding: str = "") -> ParsedRequest:
    """Return the parsed form of a body that is forwarded, and kept, without being parsed."""
    warning = f"The request could not be read, and is kept as it came: {why}"
    return ParsedRequest(
        body, None, uuid7(), is_read=False, encoding=encoding, warnings=[warning]
    )


async def without_metadata(request: ParsedRequest) -> tuple[bytes, int | None]:
    """Return the body without its request metadata, and its header length.

    It is the identical object if the body holds no metadata. Raises ValueError if it cannot be
    parsed.
    """
    body, length = request.body, request.header_length
    if is_light(_header_of(body, length)):
        return strip_metadata(body, length)
    stripped, length = await shared().run(strip, body, length)
    return (body if stripped is None else stripped), length


def strip(body: bytes, header_length: int | None) -> tuple[bytes | None, int | None]:
    """Return what ``strip_metadata`` returns, with None for an unchanged body.

    It runs in a parser process: None saves sending an unchanged body back.
    """
    stripped, length = strip_metadata(body, header_length)
    return (None if stripped is body else stripped), length


def wish_of(given: object) -> tuple[str, list[str]]:
    """Return the id that a caller asks for ("" for none), and warnings about an invalid one."""
    if given is None or given == "":  # Triton's clients send "" for no id
        return "", []
    if isinstance(given, str) and is_id(given):
        return given, []
    limit = limits.ID_MAX_CHARS
    return "", [
        f"The caller wished for the id {given!r:.300}, which is not a text of 1 to {limit} "
        "characters without control characters, other than '.' and '..'."
    ]


def part_ids(request_id: str, count: int) -> list[str]:
    """Return an id for each part: the request's own for a single part, else ``<id>-<number>``.

    The request's id is cut where the result would be longer than ``ID_MAX_CHARS``.
    """
    if count == 1:
        return [request_id]
    limit = limits.ID_MAX_CHARS
    return [f"{request_id[: limit - len(str(n)) - 1]}-{n}" for n in range(count)]


async def _read(
    body: bytes, header_length: int | None, task_type: str
) -> ParsedRequest:
    """Return the parsed request without its body. Raises ValueError if it cannot be parsed."""
    if header_length == 0:  # the whole body is one tensor
        return ParsedRequest(b"", 0, uuid7())
    if is_light(_header_of(body, header_length)):
        document = _read_header(body, header_length)
        # Only a request that may hold several inputs is parsed beyond its JSON header.
        if header_length is None or (
            is_light(body) or not _may_be_several(document, task_type)
        ):
            return _describe(document, body, header_length, task_type)
    return await shared().run(read_whole, body, header_length, task_type)


def read_whole(body: bytes, header_length: int | None, task_type: str) -> ParsedRequest:
    """Return the parsed request without its body. It runs in a parser process."""
    document = _read_header(body, header_length)
    return _describe(document, body, header_length, task_type)


def _describe(
    document: dict[str, Any], body: bytes, header_length: int | None, task_type: str
) -> ParsedRequest:
    wish, warnings = wish_of(document.get("id"))
    return ParsedRequest(
        b"",
        header_length,
        request_id=wish or uuid7(),
        is_wish=bool(wish),
        is_told=bool(wish),
        parts=_count_parts(document, body, header_length, task_type),
        warnings=warnings,
    )


def _header_of(body: bytes, header_length: int | None) -> bytes | memoryview:
    return body if header_length is None else memoryview(body)[:header_length]


def _read_header_length(text: bytes | None) -> int | None:
    if text is None:
        return None
    if not (text.isdigit() and len(text) <= 19):
        raise V2Error("Inference-Header-Content-Length is not a number.")
    return int(text)


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
    document: dict[str, Any], body: bytes, header_length: int | None, task_type: str
) -> int:
    """Return how many inferences it may be. The body is parsed only if it may be more than one."""
    if not _may_be_several(document, task_type):
        return 1
    try:
        return count_parts(read_request(body, header_length), task_type)
    except V2Error:  # the upstream may still accept it; it is kept as it came
        return 1


def _may_be_several(document: dict[str, Any], task_type: str) -> bool:
    """Return whether it may hold several inputs, judging by datatypes and shapes alone."""
    inputs = document.get("inputs")
    if not isinstance(inputs, list) or not all(isinstance(e, dict) for e in inputs):
        return False
    if inputs and all(tensor.get("datatype") == "BYTES" for tensor in inputs):
        if len(inputs) != 1:
            return True
        # One input with several elements is several parts only in the shapes [N] and [N, 1].
        shape = inputs[0].get("shape")
        if isinstance(shape, list):
            return shape not in ([1], [1, 1])
    forms = [
        Form(str(tensor.get("datatype")), tuple(shape))
        for tensor in inputs
        if isinstance(shape := tensor.get("shape"), list)
        and all(type(size) is int for size in shape)
    ]
    parameters = document.get("parameters")
    parameters = parameters if isinstance(parameters, dict) else {}
    return len(forms) == len(inputs) and count_rows(forms, parameters, task_type) > 1
