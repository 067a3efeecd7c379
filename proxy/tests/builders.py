"""Entries of the spool, and files of it that hold them."""

from __future__ import annotations

from pathlib import Path
from uuid import NAMESPACE_OID, uuid5

from proxy.spool.entries import Facts, SpoolEntry
from proxy.spool.frames import frame, header
from proxy.spool.spool_files import SpoolFile
from proxy.tests.conftest import OWNER


def prefix_of(name: str, model: str = "1/2") -> str:
    """Return the prefix that the spool chose for the inference of this name."""
    return f"{model}/2026/03/04/05/{uuid5(NAMESPACE_OID, name)}"


def make_entry(
    request: bytes = b'{"inputs": []}', answer: bytes = b"{}", **changes
) -> SpoolEntry:
    at = "2026-03-04T05:06:07.000000Z"
    facts = {
        "model_id": "harbour",
        "task_type": "Object Detection",
        "inference_ids": ["a"],
        "prefixes": [prefix_of("a")],
        "request_received_at": at,
        "request_forwarded_at": at,
        "request_responded_at": at,
        "status": 200,
        "request_header_length": None,
        "answer_header_length": None,
        "answer_content_type": "application/json",
    }
    return SpoolEntry(Facts(**facts | changes), request, answer)


def spooled(directory: Path, *payloads: bytes, owner=OWNER, tail=b"") -> SpoolFile:
    segment = SpoolFile(directory, owner, 1)
    identity = segment.identity
    parts = [frame(identity, each, number) for number, each in enumerate(payloads)]
    segment.path.write_bytes(header(identity) + b"".join(parts) + tail)
    return segment


def payload(name: str) -> bytes:
    entry = make_entry(inference_ids=[name], prefixes=[prefix_of(name)])
    return b"".join(entry.pieces())
