"""Build the ``NewInference`` that is recorded from an event and its marker.

Times. ``created_at`` is ``request_received_at``. The publisher's clock is compared with the
stream's at a moment that both know: ``event_published_at`` is set anew on every publication,
also by a retry and by reconcile. So its distance to the time of the stream entry is the error of
that clock, never a delay. Beyond the limit ``created_at`` is corrected by that distance, and
``clock_anomaly`` says so. Of an event that reconcile published the error of the proxy's clock is
no longer known, and its time is believed. A time that still cannot be stored is replaced by that
of the entry.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import orjson
from django.conf import settings

from inferences.models import InferenceAction, MetadataType
from inferences.models.metadata_values import UNSTORABLE, MetadataValue
from inferences.models.row_ids import EARLIEST
from inferences.predictions.derived_metadata import derived_metadata
from inferences.store.notes import FAILURE, NOT_UNDERSTOOD, WARNINGS, Failure
from inferences.store.recording import NewInference
from ingest.errors import Reason, Rejected
from ingest.events import InferenceEvent
from ingest.lenient_parsing import LenientReader
from ingest.markers import Marker, read_context_of
from ingest.validated_events import ValidatedEvent
from istore.telemetry.request_ids import trace_id_of

ACTIONS = {action.label: action for action in InferenceAction}
WARNINGS_MAX, WARNING_CHARS = 100, 500  # kept of one record, and of one warning
CONTENT_TYPE_CHARS = 255  # the rest is cut off
TEXT_CHARS = 255  # of a request's id; the rest is cut off
FIRST_TOKEN = "time_to_first_token"


@dataclass(frozen=True, slots=True)
class Composed:
    """A validated event and the record that is made of it."""

    arrival: ValidatedEvent
    new: NewInference


def compose(
    arrival: ValidatedEvent, marker: Marker, indexed_at: datetime
) -> NewInference:
    """Return the record of an event. Raises ``Rejected`` when the marker has no valid action."""
    value, stated = marker.value, marker.input
    reader = LenientReader(value.get("warnings"))
    fields = _fields_of_input(value, reader)
    text, found = reader.answer(arrival.model, marker)
    created_at, offset = _created_at(arrival)
    request_id, traceparent = read_context_of(value)
    version = reader.model_version or reader.text(
        "model_version", value.get("model_version")
    )
    return NewInference(
        **fields,
        inference_id=arrival.event.inference_id,
        created_at=created_at,
        detections=reader.detections(found),
        embedding=reader.embedding(arrival.model, found),
        data=text,
        data_storage_key=arrival.event.data_storage_key,
        data_content_type=reader.text("input.content_type", stated.get("content_type"))[
            :CONTENT_TYPE_CHARS
        ],
        answer_storage_key=arrival.event.inference_storage_key,
        notes=_notes(arrival, marker, indexed_at, offset, reader),
        derived=derived_metadata(
            found,
            fields["metadata"],
            version,
            request_id=reader.text("request_id", value.get("request_id"))[:TEXT_CHARS],
            x_request_id=request_id,
            trace_id=trace_id_of(traceparent),
            seconds=_seconds_of_tokens(arrival.event, fields["metadata"]),
        ),
        reservation=_reservation(value),
    )


def _seconds_of_tokens(event: InferenceEvent, given: list[MetadataValue]) -> float:
    """Return the seconds from the first token, where its time is known, to the end."""
    taken = event.request_responded_at - event.request_forwarded_at
    first = [
        float(each.text)
        for each in given
        if each.key == FIRST_TOKEN and each.type == MetadataType.FLOAT
    ]
    return taken.total_seconds() - (first[0] if first else 0.0)


def content_hash_of(value: dict[str, Any]) -> bytes:
    """Return the ``content_hash`` that the record of this marker will have.

    The proxy compares it with that of a record that has the id of a call. Raises ``Rejected`` as
    ``compose`` does.
    """
    fields = _fields_of_input(value, LenientReader([]))
    return NewInference(**fields, inference_id="", created_at=EARLIEST).content_hash


def _fields_of_input(value: dict[str, Any], reader: LenientReader) -> dict[str, Any]:
    """Return the fields of ``NewInference`` that tell one content from another."""
    action = ACTIONS.get(str(value.get("inference_action")))
    if action is None:
        raise Rejected(
            Reason.MALFORMED_METADATA,
            f"{value.get('inference_action')!r:.60} is no inference_action.",
        )
    return {
        "inference_action": action,
        "data_hash": bytes.fromhex(value["input"]["sha256"]),
        "data_size": value["input"]["size"],
        "metadata": reader.metadata(value.get("metadata")),
        "latitude": reader.degrees("latitude", value.get("latitude"), 90),
        "longitude": reader.degrees("longitude", value.get("longitude"), 180),
        "data_source": reader.text("data_source", value.get("data_source")) or None,
        "content": {"answer": value["answer"]["sha256"]},
    }


def _reservation(value: dict[str, Any]) -> bytes | None:
    """Return the digest that the proxy reserved the id with; None without a reservation."""
    try:
        return bytes.fromhex(value["reservation"])
    except (KeyError, TypeError, ValueError):
        return None


def _created_at(arrival: ValidatedEvent) -> tuple[datetime, timedelta]:
    """Return when the inference happened, and by how much the publisher's clock was corrected."""
    limit = timedelta(seconds=settings.ISTORE_CLOCK_SKEW_MAX_SECONDS)
    event, streamed_at = arrival.event, arrival.streamed_at
    offset = streamed_at - event.event_published_at
    if abs(offset) <= limit:
        offset = timedelta()
    try:
        created_at = event.request_received_at + offset
    except OverflowError:
        created_at = streamed_at
    if not EARLIEST <= created_at <= streamed_at + limit:
        created_at = streamed_at
    return created_at, created_at - event.request_received_at


def _notes(
    arrival: ValidatedEvent,
    marker: Marker,
    indexed_at: datetime,
    offset: timedelta,
    reader: LenientReader,
) -> dict[str, Any]:
    event, answer, stated = arrival.event, marker.answer_facts, marker.input
    notes: dict[str, Any] = {
        "times": {
            "received": _write(event.request_received_at),
            "forwarded": _write(event.request_forwarded_at),
            "responded": _write(event.request_responded_at),
            "published": _write(event.event_published_at),
            "indexed": _write(indexed_at),
        },
        "answer": {name: answer.get(name) for name in ANSWER_FACTS},
        "input": {name: stated.get(name) for name in INPUT_FACTS},
    }
    for name in RARE_INPUT_FACTS:
        if stated.get(name):
            notes["input"][name] = stated[name]
    if (part := marker.value.get("request_part")) is not None:
        notes["request_part"] = part
    if offset:
        notes["clock_anomaly"] = True
        notes["clock_offset_seconds"] = offset.total_seconds()
    if reader.warnings:
        first = reader.warnings[:WARNINGS_MAX]
        notes[WARNINGS] = [each[:WARNING_CHARS] for each in first]
    if reader.is_not_understood:
        notes[NOT_UNDERSTOOD] = True
    failure = marker.value.get(FAILURE)
    if isinstance(failure, str) and failure in FAILURES:
        notes[FAILURE] = failure
    return _storable(notes)


FAILURES = frozenset(Failure)
ANSWER_FACTS = ("sha256", "size", "content_type", "header_length", "status")
INPUT_FACTS = ("name", "datatype", "shape")
# Few inputs have these, so they are noted only where they are set.
RARE_INPUT_FACTS = ("content_encoding", "base64", "tensors")


def _write(moment: datetime) -> str:
    """Return what ``written_moment`` returns for a moment in UTC, at a fifth of its cost."""
    return f"{moment.isoformat(timespec='microseconds')[:26]}Z"


def _storable(notes: dict[str, Any]) -> dict[str, Any]:
    """Return the notes, changed only where PostgreSQL could not store them."""
    storable: dict[str, Any]
    try:
        written = orjson.dumps(notes)
    except TypeError:
        storable = _replace(notes)
    else:
        storable = _replace(notes) if b"\\u0000" in written else orjson.loads(written)
    return storable


def _replace(value: Any) -> Any:
    """Return the value with U+FFFD for characters that cannot be stored, in names and values."""
    if isinstance(value, str):
        return UNSTORABLE.sub("\ufffd", value)
    if isinstance(value, dict):
        return {_replace(name): _replace(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_replace(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
