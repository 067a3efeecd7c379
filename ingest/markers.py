"""The commit marker: the metadata blob that describes everything of one inference."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from typing import Any

import orjson

from inferences.store.marker_form import FORMATS, RECORD_KEYS
from inferences.store.notes import FAILURE
from ingest.errors import Reason, Rejected, Retryable
from ingest.events import NAMED, InferenceEvent
from ingest.validated_events import ValidatedEvent
from istore import blobs
from istore.blobs import packs
from istore.telemetry import request_ids

IN_A_PACK = NAMED - set(RECORD_KEYS)  # what a marker there says of its event
MAY_DIFFER = frozenset(("event_published_at", "data_storage_key"))
DIGEST_BYTES = hashlib.sha256().digest_size


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
    def is_of_an_error(self) -> bool:
        """Whether the answer is the error of a call that failed, and not what a model said."""
        status = self.answer_facts.get("status")
        return bool(self.value.get(FAILURE)) and type(status) is int and status >= 400

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
    if not isinstance(value, dict) or value.get("format") not in FORMATS:
        why = f"It is not of a known format: {FORMATS}."
        raise Rejected(Reason.MALFORMED_METADATA, why)
    for name in ("event", "input", "answer"):
        if not isinstance(value.get(name), dict):
            raise Rejected(Reason.MALFORMED_METADATA, f"{name!r} is not an object.")
    for name in ("input", "answer"):
        _check_facts(name, value[name])
    return value


def read_event_of(value: dict[str, Any], key: str) -> InferenceEvent:
    """Return the event that is written in the marker of this key. Raises ``Rejected``."""
    event = value["event"]
    if packs.is_member(key):
        answer = packs.key_behind(key, value["answer"]["size"])
        event = event | {"inference_storage_key": answer, "metadata_storage_key": key}
    try:
        found = InferenceEvent.from_dict(event)
    except ValueError as error:
        raise Rejected(Reason.MALFORMED_METADATA, f"Its event: {error}") from None
    request_id, traceparent = read_context_of(value)
    return replace(found, request_id=request_id, traceparent=traceparent)


def read_context_of(value: dict[str, Any]) -> tuple[str, str]:
    """Return the id of the request and its trace context as a marker has them; "" without."""
    given = value.get("x_request_id"), value.get("traceparent")
    texts = [each if isinstance(each, str) else "" for each in given]
    return request_ids.read(texts[0]), request_ids.read_traceparent(texts[1])


def open_marker(
    arrival: ValidatedEvent, content: bytes, answer: bytes | None = None
) -> Marker:
    """Return the marker of an event with its answer, both checked against what they state.

    ``answer`` is given where it was read with the marker. Raises ``Rejected``, or ``Retryable``
    when a blob beside the marker is missing.
    """
    value = read_marker(content)
    key = arrival.event.metadata_storage_key
    if not packs.is_member(key) and value["event"].keys() == IN_A_PACK:
        raise Retryable(Reason.MISSING_BLOB, "The record was moved into a pack.")
    if not _repeats_texts(arrival, value):
        _check_event(arrival.event, value)
    if value["event"]["data_storage_key"] != arrival.event.data_storage_key:
        _check_capture(arrival.event)
    stated = value["answer"]
    if isinstance(reading := stated.get("reading"), str):
        _check_size(arrival.event.inference_storage_key, stated["size"])
        return Marker(value, reading.encode("utf-8", "surrogatepass"))
    text = stated.get("text")
    if answer is None:
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

    One that was released from its pack is missing, too.

    It is cheap where blobs are files; ``blob_fetcher`` leaves it out for object stores.
    """
    key = blobs.current_key(arrival.event.data_storage_key)
    if key is None:
        raise Retryable(Reason.MISSING_BLOB, "The input is missing.")
    size = blobs.size(key)
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


def _check_capture(event: InferenceEvent) -> None:
    """Raise ``Rejected`` unless the input is of the same capture as the record.

    Its pack may have been rewritten, so the marker does not say where it is. But both indexes
    name the capture.
    """
    key = event.data_storage_key
    capture = packs.capture_of(event.inference_storage_key)
    if capture is None or packs.capture_of(key) != capture:
        raise Rejected(Reason.FOREIGN_KEY, f"{key!r:.300} is of another inference.")


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


def _repeats_texts(arrival: ValidatedEvent, value: dict[str, Any]) -> bool:
    """Return whether a marker in a pack repeats the texts of its event, as it usually does.

    Then they say the same, and need not be read.
    """
    key, stated = arrival.event.metadata_storage_key, value["event"]
    if not packs.is_member(key) or stated.keys() != IN_A_PACK:
        return False
    given = orjson.loads(arrival.entry.payload)
    answer = packs.key_behind(key, value["answer"]["size"])
    return (
        all(stated[name] == given[name] for name in IN_A_PACK - MAY_DIFFER)
        and all(isinstance(stated[name], str) and stated[name] for name in MAY_DIFFER)
        and arrival.event.inference_storage_key == answer
    )


def _check_event(event: InferenceEvent, value: dict[str, Any]) -> None:
    """Raise ``Rejected`` unless the marker is that of this event.

    ``event_published_at`` may differ: it is set anew on every publication. So may the place of
    the input (``_check_capture``), as the marker in another pack is not written anew.
    """
    stated = read_event_of(value, event.metadata_storage_key)
    stated = replace(stated, event_published_at=event.event_published_at)
    if packs.is_member(event.metadata_storage_key):
        stated = replace(stated, data_storage_key=event.data_storage_key)
    if stated != event:
        raise Rejected(Reason.MALFORMED_METADATA, "It is the marker of another event.")
