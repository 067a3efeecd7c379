"""Facts of a request from its body and its headers, and the body that is forwarded.

Large bodies are read in a parser process (``parser_processes``), so the functions for that must
not need anything of the database.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any
from urllib.parse import unquote

import orjson

from protocols.json_bounds import check_json
from protocols.open_inference import read_json
from protocols.open_inference.bounded_json import MAX_VALUES
from protocols.text_requests import (
    RequestFacts,
    facts_of_request,
    items_of_mapping,
)
from proxy.http.headers import Headers
from proxy.parser_processes import parse

DEPTH = 1000  # levels of nesting, as deep as the parser goes: schemas of tools nest
HEADERS = {"user": b"inference-user", "session": b"inference-session"}
METADATA = b"inference-metadata"
METADATA_CHARS = 16_384  # of that header
METADATA_BYTES = 2**20  # of the body's metadata
NAME = re.compile(rb'"model"\s*:\s*"((?:[^"\\]|\\.)*)"')


async def read_facts(body: bytes, headers: Headers) -> tuple[RequestFacts, list[str]]:
    """Return the facts of a request, and warnings about headers that cannot be read.

    A body that cannot be parsed has no facts. What headers say comes before what the body says.
    """
    try:
        facts, of_body = await parse(facts_in_body, body)
    except ValueError:
        facts, of_body = RequestFacts(), []
    named = {
        name: unquote(given.decode("latin-1")).strip()
        for name, header in HEADERS.items()
        if (given := headers.get(header))
    }
    items, warnings = _items_of_header(headers.get(METADATA))
    if named or items:
        keys = {each["key"] for each in items}
        others = [each for each in facts.metadata if each["key"] not in keys]
        facts = replace(facts, **named, metadata=[*items, *others])
    return facts, [*of_body, *warnings]


def facts_in_body(body: bytes) -> tuple[RequestFacts, list[str]]:
    """Return the facts of a request's body, and warnings about them.

    Metadata that is too large or nested too deep is left out: it stands in the spool beside the
    body, which has it anyway. Raises ValueError if the body cannot be parsed.
    """
    facts = facts_of_request(read_json(body, DEPTH, MAX_VALUES))
    try:
        if len(orjson.dumps(facts.metadata)) <= METADATA_BYTES:
            return facts, []
    except orjson.JSONEncodeError:  # deeper than it writes
        pass
    warning = f"The metadata of the body was set aside: it has more than {METADATA_BYTES} bytes, or is nested too deep."
    return replace(facts, metadata=[]), [warning]


async def rewrite(body: bytes, model: str, name: str, *, strips: bool) -> bytes:
    """Return the body for a server that calls the model ``name``, without metadata if ``strips``.

    Where nothing has to be changed it is the same object. Of a body that cannot be parsed
    nothing is changed.
    """
    strips = strips and b'"metadata"' in body
    if name == model and not strips:
        return body
    if not strips and (renamed := _rename(body, model, name)) is not None:
        return renamed
    try:
        return await parse(rewrite_parsed, body, model, name, strips)
    except ValueError:
        return body


def rewrite_parsed(body: bytes, model: str, name: str, strips: bool) -> bytes:
    """Return the body, written anew after it was parsed. Raises ValueError if it cannot be."""
    check_json(body, DEPTH, MAX_VALUES)
    try:
        document = json.loads(body)  # keeps whole numbers of any size
        if not isinstance(document, dict):
            return body
        if document.get("model") == model:
            document["model"] = name
        if strips:
            document.pop("metadata", None)
        return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
    except RecursionError as error:
        raise ValueError("It is nested too deep.") from error


def _rename(body: bytes, model: str, name: str) -> bytes | None:
    """Return the body with the model's name replaced in place; None if that is not certain.

    Within a JSON text the quotation marks are escaped. So a single ``"model": "<id>"`` is the
    member that was read from the body, and all other bytes stay as they came.
    """
    found = [
        each
        for each in NAME.finditer(body)
        if body[each.start() - 1 : each.start()] != b"\\"
    ]
    if len(found) != 1 or body.count(b'"model"') != 1:
        return None
    start, end = found[0].span(1)
    if body[start:end] != json.dumps(model)[1:-1].encode():
        return None
    return body[:start] + json.dumps(name)[1:-1].encode() + body[end:]


def _items_of_header(given: bytes | None) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the items of the header ``Inference-Metadata``, which is a JSON object."""
    if not given:
        return [], []
    text = given.decode("latin-1")
    try:
        if len(text) > METADATA_CHARS:
            raise ValueError
        value = read_json((text if text.startswith("{") else unquote(text)).encode())
        if not isinstance(value, dict):
            raise ValueError
    except ValueError:
        return [], [
            "The header Inference-Metadata is no JSON object, and was set aside."
        ]
    return items_of_mapping(value), []
