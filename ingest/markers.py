"""The commit marker: the metadata blob that describes everything of one inference."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from typing import Any

import orjson

from ingest.errors import Reason, Rejected, Retryable
from ingest.events import InferenceEvent
from ingest.validated_events import ValidatedEvent
from istore import blobs

DIGEST_BYTES = hashlib.sha256().digest_size
FORMAT = 1  # the only one so far; any other is rejected


@dataclass(frozen=True, slots=True)
class Marker:
    """A marker of a valid form, and the answer as the model gave it."""

    value: dict[str, Any]
    answer: bytes

    @property
    def input(self) -> dict[str, Any]:
        """What the marker says of the input."""
        facts: dict[str, Any] = self.value["input"]
        return facts

    @property
    def is_read_out(self) -> bool:
        """Whether the answer was read from a stream, which is kept as it came."""
        return isinstance(self.answer_facts.get("reading"), str)

    @property
    def answer_facts(self) -> dict[str, Any]:
        """What the marker says of the answer."""
        facts: dict[str, Any] = self.value["answer"]
        return facts


def read_marker(content: bytes) -> dict[str, Any]:
    """Return the parsed JSON of a marker. Raises ``Rejected`` unless it has the known form."""
    try:
        value = orjson.loads(content)
    except orjson.JSONDecodeError:
        value = _read_loosely(content)
    if not isinstance(value, dict) or value.get("format") != FORMAT:
        raise Rejected(Reason.MALFORMED_METADATA, f"It is not of format {FORMAT}.")
    for name in ("event", "input", "answer"):
        if not isinstance(value.get(name), dict):
            raise Rejected(Reason.MALFORMED_METADATA, f"{name!r} is not an object.")
    for name in ("input", "answer"):
        _check_facts(name, value[name])
    return value


def read_event_of(value: dict[str, Any]) -> InferenceEvent:
    """Return the event that is written in a marker. Raises ``Rejected``."""
    try:
        return InferenceEvent.from_dict(value["event"])
    except ValueError as error:
        raise Rejected(Reason.MALFORMED_METADATA, f"Its event: {error}") from None


def open_marker(arrival: ValidatedEvent, content: bytes) -> Marker:
    """Return the marker of an event with its answer, both checked against what they state.

    Raises ``Rejected``, or ``Retryable`` when a blob beside the marker is missing.
    """
    value = read_marker(content)
    _check_event(arrival.event, value)
    stated = value["answer"]
    if isinstance(reading := stated.get("reading"), str):
        _check_size(arrival.event.inference_storage_key, stated["size"])
        return Marker(value, reading.encode("utf-8", "surrogatepass"))
    text = stated.get("text")
    answer = (
        text.encode("utf-8", "surrogatepass")
        if isinstance(text, str)
        else _blob(arrival.event.inference_storage_key)
    )
    if hashlib.sha256(answer).hexdigest() != stated["sha256"]:
        raise Rejected(
            Reason.HASH_MISMATCH, "The answer is not the one that was hashed."
        )
    return Marker(value, answer)


def check_input(arrival: ValidatedEvent, marker: Marker) -> None:
    """Raise ``Retryable`` if the input is missing, and ``Rejected`` if it has another length.

    It is cheap where blobs are files; ``blob_fetcher`` leaves it out for object stores.
    """
    try:
        size = blobs.size(arrival.event.data_storage_key)
    except FileNotFoundError:
        raise Retryable(Reason.MISSING_BLOB, "The input is missing.") from None
    if size != marker.input["size"]:
        raise Rejected(
            Reason.HASH_MISMATCH,
            f"The input has {size} bytes, not {marker.input['size']}.",
        )


def _check_size(key: str, stated: int) -> None:
    """Check that the stream an answer was read from is there, and of the stated length."""
    try:
        size = blobs.size(key)
    except FileNotFoundError:
        raise Retryable(Reason.MISSING_BLOB, "The answer is missing.") from None
    if size != stated:
        raise Rejected(
            Reason.HASH_MISMATCH, f"The answer has {size} bytes, not {stated}."
        )


def _blob(key: str) -> bytes:
    try:
        return blobs.get(key)
    except FileNotFoundError:
        raise Retryable(Reason.MISSING_BLOB, "The answer is missing.") from None


def _read_loosely(content: bytes) -> Any:
    """Return JSON that orjson rejects, such as a text with half a surrogate pair.

    The reader of that text sets it aside later. Raises ``Rejected``.
    """
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise Rejected(Reason.MALFORMED_METADATA, f"It is not JSON: {error}") from None


def _check_facts(name: str, facts: dict[str, Any]) -> None:
    digest, size = facts.get("sha256"), facts.get("size")
    try:
        good = isinstance(digest, str) and len(bytes.fromhex(digest)) == DIGEST_BYTES
    except ValueError:
        good = False
    if not good:
        raise Rejected(Reason.MALFORMED_METADATA, f"{name}.sha256 is not a SHA-256.")
    if type(size) is not int or not 0 <= size < 2**63:
        raise Rejected(Reason.MALFORMED_METADATA, f"{name}.size is not a length.")


def _check_event(event: InferenceEvent, value: dict[str, Any]) -> None:
    """Raise ``Rejected`` unless the marker is that of this event.

    ``event_published_at`` may differ: it is set anew on every publication.
    """
    stated = read_event_of(value)
    if replace(stated, event_published_at=event.event_published_at) != event:
        raise Rejected(Reason.MALFORMED_METADATA, "It is the marker of another event.")
