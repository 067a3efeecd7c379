"""A spool entry: everything of one call that is needed to store it later."""

from __future__ import annotations

from dataclasses import dataclass, field
from struct import Struct
from typing import Any, Self

import orjson

# How to parse the request: as the open inference protocol, as plain JSON, or not at all,
# because it could not be parsed and is kept as it came.
FORM_V2, FORM_JSON, FORM_RAW = "v2", "json", "raw"
BROKE_OFF = "The stream broke off."  # how a stream may end, as its facts say
HEAD = Struct("<IQ")  # length of the facts, length of the request


@dataclass(slots=True)
class Facts:
    """Everything of a call but its two bodies. The names of the blobs are chosen here, once.

    ``inference_ids`` and ``prefixes`` have one member for each part of the request. Header
    lengths are those of JSON headers in bytes, None where a body is JSON alone. ``metadata``
    has items of our own and ``warnings`` sentences, both for the record of each part; sentences
    for one part alone are in ``part_warnings``. ``reservations`` has the digests that the
    parts' ids were reserved with, None for an id without a reservation. ``request_encoding`` is
    the content encoding that the request still has. ``stream`` is present when the answer came
    as a stream: how it ended, and when its first pieces came.
    """

    model_id: str
    task_type: str
    inference_ids: list[str]
    prefixes: list[str]
    request_received_at: str
    request_forwarded_at: str
    request_responded_at: str
    status: int
    request_header_length: int | None
    answer_header_length: int | None
    answer_content_type: str
    answer_encoding: str = ""
    form: str = FORM_V2
    metadata: list[dict[str, Any]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    stream: dict[str, Any] | None = None
    request_encoding: str = ""
    reservations: list[str | None] = field(default_factory=list)
    part_warnings: list[list[str]] = field(default_factory=list)
    model_version: str | None = None  # the version in the path of the request
    request_id: str = ""  # the server's own id of the request
    x_request_id: str = ""  # the caller's, or ours where it is not the record's id
    traceparent: str = ""  # the caller's trace context
    failure: str = ""  # why the call failed, as ``store.notes.Failure`` names it


# Facts that the last release does not know. Left out where they say nothing, it reads the entry.
NEW_WHEN_EMPTY = (b'"x_request_id":"",', b'"traceparent":"",')


@dataclass(slots=True)
class SpoolEntry:
    """A call that was answered.

    The request is decompressed, unless its encoding could not be read; the answer is as it
    came.
    """

    facts: Facts
    request: bytes
    answer: bytes

    def pieces(self) -> list[bytes]:
        """Return the payload as pieces: ``HEAD``, the facts as JSON, the request, the answer."""
        facts = orjson.dumps(self.facts)
        for empty in NEW_WHEN_EMPTY:
            facts = facts.replace(empty, b"", 1)
        head = HEAD.pack(len(facts), len(self.request))
        return [head, facts, self.request, self.answer]

    @classmethod
    def read(cls, payload: bytes) -> Self:
        """Return the entry of a payload that ``pieces`` made."""
        facts_size, request_size = HEAD.unpack_from(payload)
        request_at = HEAD.size + facts_size
        answer_at = request_at + request_size
        facts: dict[str, Any] = orjson.loads(payload[HEAD.size : request_at])
        # A release to come may write more.
        known = {k: v for k, v in facts.items() if k in Facts.__dataclass_fields__}
        return cls(Facts(**known), payload[request_at:answer_at], payload[answer_at:])


def noted_item(key: str, value: str | int | float) -> dict[str, str]:
    """Return a fact that the proxy notes about a call, as a metadata item."""
    kinds = {str: "string", int: "int", float: "float"}
    return {"key": key, "type": kinds[type(value)], "value": str(value)}
