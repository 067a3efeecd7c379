"""What an event and its marker say, as the ``NewInference`` that is recorded.

Whatever cannot be kept as it is (a value that does not parse, a NUL in a text) is set
aside with a sentence in the record's warnings; the inference itself is stored.

Times. ``created_at`` is ``request_received_at``. The publisher's clock is held against
the stream's at the moment both know: ``event_published_at`` is set anew by whoever
publishes, a retry and a reconcile too, so its distance to the entry's own time is the
error of that clock and never a delay. Beyond the limit ``created_at`` is corrected by
that distance, and ``clock_anomaly`` says so. Of an event that reconcile published, the
clock of the proxy is no longer known: it is taken at its word. A time that is still no
time to store at is replaced by the entry's.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

import orjson
from django.conf import settings

from inferences.deconstruction import Deconstructed, Kind, deconstruct
from inferences.metadata import READERS, MetadataValue
from inferences.models import InferenceAction, RegisteredModel
from inferences.recording import NewInference
from inferences.row_ids import EARLIEST
from ingest.arrivals import Arrival
from ingest.markers import Marker
from ingest.refusals import Reason, Refused
from services import v2

UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
ACTIONS = {action.label: action for action in InferenceAction}
WARNINGS_MAX, WARNING_CHARS = 100, 500
CONTENT_TYPE_CHARS = 255
SHORT = 128  # texts worth remembering: a camera's name comes with every picture


@dataclass(frozen=True, slots=True)
class Composed:
    arrival: Arrival
    new: NewInference


def compose(arrival: Arrival, marker: Marker, indexed_at: datetime) -> NewInference:
    """The record to be. Raises Refused when the marker does not say what was asked."""
    value, stated = marker.value, marker.input
    said = _Said(list(_texts(value.get("warnings"))))
    action = ACTIONS.get(str(value.get("inference_action")))
    if action is None:
        raise Refused(
            Reason.MALFORMED_METADATA,
            f"{value.get('inference_action')!r:.60} is no inference_action.",
        )
    metadata = said.metadata(value.get("metadata"))
    latitude = said.degrees("latitude", value.get("latitude"), 90)
    longitude = said.degrees("longitude", value.get("longitude"), 180)
    source = said.text("data_source", value.get("data_source")) or None
    text, found = said.answer(arrival.model, marker)
    created_at, offset = _created_at(arrival)
    answer = marker.answer_facts
    return NewInference(
        inference_id=arrival.event.inference_id,
        inference_action=action,
        data_hash=bytes.fromhex(stated["sha256"]),
        data_size=stated["size"],
        created_at=created_at,
        metadata=metadata,
        latitude=latitude,
        longitude=longitude,
        data_source=source,
        detections=_detections(found),
        embedding=said.embedding(arrival.model, found),
        data=text,
        data_storage_key=arrival.event.data_storage_key,
        data_content_type=said.text("input.content_type", stated.get("content_type"))[
            :CONTENT_TYPE_CHARS
        ],
        answer_storage_key=arrival.event.inference_storage_key,
        content={"answer": answer["sha256"]},
        notes=_notes(arrival, marker, indexed_at, offset, said.warnings),
    )


class _Said:
    """Reads parts of a marker, and remembers what it had to set aside."""

    def __init__(self, warnings: list[str]) -> None:
        self.warnings = warnings

    def metadata(self, items: Any) -> list[MetadataValue]:
        if not isinstance(items, list):
            if items is not None:
                self.warnings.append("metadata is not a list.")
            return []
        found: dict[str, MetadataValue] = {}
        most = settings.ISTORE_METADATA_MAX_ITEMS
        for item in items[:most]:
            try:
                value = _metadata_value(item)
            except ValueError as error:
                self.warnings.append(f"Metadata was set aside: {error}")
                continue
            if found.setdefault(value.key, value) is not value:
                self.warnings.append(f"Metadata was set aside: {value.key!r} again.")
        if len(items) > most:
            self.warnings.append(f"Of {len(items)} metadata the first {most} are kept.")
        return list(found.values())

    def degrees(self, name: str, value: Any, most: int) -> float | None:
        if value is None:
            return None
        if type(value) in (int, float) and math.isfinite(value) and abs(value) <= most:
            return float(value)
        self.warnings.append(f"{name} was set aside: {value!r:.60}.")
        return None

    def text(self, name: str, value: Any) -> str:
        if value is None:
            return ""
        if not isinstance(value, str) or UNSTORABLE.search(value):
            self.warnings.append(f"{name} was set aside: it cannot be stored as text.")
            return ""
        return value

    def answer(
        self, model: RegisteredModel, marker: Marker
    ) -> tuple[str, Deconstructed]:
        """The answer's text where that may lie in the row, and what it says."""
        body, header_length = marker.answer, marker.answer_facts.get("header_length")
        text = body if header_length is None else b""
        try:
            if header_length is None:
                outputs = v2.read_json(body)
            else:
                response = v2.read_response(body, header_length)
                outputs = [v2.tensor_value(each) for each in response.outputs]
                text = orjson.dumps(_as_json(response, outputs))
        except (ValueError, TypeError) as error:
            self.warnings.append(f"The answer could not be read: {error!s:.200}")
            found = Deconstructed()
        else:
            found = _deconstructed(model, outputs)
        self.warnings += found.warnings
        if len(text) > settings.ISTORE_ANSWER_INLINE_BYTES:
            return "", found
        try:
            return self.text("The answer's text", text.decode()), found
        except UnicodeDecodeError:
            return "", found

    def embedding(
        self, model: RegisteredModel, found: Deconstructed
    ) -> list[float] | None:
        vector, wanted = found.embedding, model.embedding_size
        if vector is None or wanted == 0:
            return None
        if len(vector) != wanted:
            self.warnings.append(
                f"The embedding has {len(vector)} numbers, those of the model {wanted}."
            )
            return None
        return vector


def _metadata_value(item: Any) -> MetadataValue:
    if not isinstance(item, dict):
        raise ValueError(f"{item!r:.60} is not an object.")
    key, type_, text = item.get("key"), item.get("type"), item.get("value")
    if not (isinstance(key, str) and isinstance(type_, str) and isinstance(text, str)):
        raise ValueError(f"{key!r:.60} has a key, type or value that is not a text.")
    if type_ not in READERS:
        raise ValueError(f"{key!r:.60} has the unknown type {type_!r:.20}.")
    if len(text) <= SHORT:
        return _remembered(key, type_, text)
    return _checked(key, type_, text)


@lru_cache(maxsize=8192)
def _remembered(key: str, type_: str, text: str) -> MetadataValue:
    return _checked(key, type_, text)


def _checked(key: str, type_: str, text: str) -> MetadataValue:
    value = MetadataValue(key, type_, text)
    _ = value.comparable
    return value


def _deconstructed(model: RegisteredModel, outputs: Any) -> Deconstructed:
    return deconstruct(
        outputs,
        task_type=model.task_type,
        class_labels=model.class_labels,
        box_format=model.box_format,
        embedding_size=model.embedding_size,
        max_detections=settings.ISTORE_DETECTIONS_MAX,
        max_embedding=settings.ISTORE_EMBEDDING_MAX,
    )


def _detections(found: Deconstructed) -> list[tuple[str, float | None]] | None:
    """None where nothing is known; no pairs where the model found nothing."""
    if not found.understood or found.kind == Kind.EMBEDDING:
        return None
    return [(each.label, each.score) for each in found.detections]


def _as_json(response: v2.InferResponse, outputs: list[Any]) -> dict[str, Any]:
    named = {
        "model_name": response.model_name,
        "model_version": response.model_version,
        "id": response.id,
        "parameters": response.parameters or None,
    }
    present = {name: value for name, value in named.items() if value is not None}
    return {**present, "outputs": outputs}


def _created_at(arrival: Arrival) -> tuple[datetime, timedelta]:
    """When it happened, and by how much the publisher's clock was corrected for that."""
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
    arrival: Arrival,
    marker: Marker,
    indexed_at: datetime,
    offset: timedelta,
    warnings: list[str],
) -> dict[str, Any]:
    event, answer, stated = arrival.event, marker.answer_facts, marker.input
    notes: dict[str, Any] = {
        "times": {
            "received": _written(event.request_received_at),
            "forwarded": _written(event.request_forwarded_at),
            "responded": _written(event.request_responded_at),
            "published": _written(event.event_published_at),
            "indexed": _written(indexed_at),
        },
        "answer": {name: answer.get(name) for name in ANSWER_FACTS},
        "input": {name: stated.get(name) for name in INPUT_FACTS},
    }
    if (part := marker.value.get("request_part")) is not None:
        notes["request_part"] = part
    if offset:
        notes["clock_anomaly"] = True
        notes["clock_offset_seconds"] = offset.total_seconds()
    if warnings:
        notes["warnings"] = [each[:WARNING_CHARS] for each in warnings[:WARNINGS_MAX]]
    return _storable(notes)


ANSWER_FACTS = ("sha256", "size", "content_type", "header_length", "status")
INPUT_FACTS = ("name", "datatype", "shape")


def _texts(value: Any) -> list[str]:
    return (
        [each for each in value if isinstance(each, str)]
        if isinstance(value, list)
        else []
    )


def _written(moment: datetime) -> str:
    """``written_moment`` of a moment in UTC, at a fifth of its cost."""
    return f"{moment.isoformat(timespec='microseconds')[:26]}Z"


def _storable(notes: dict[str, Any]) -> dict[str, Any]:
    """The notes, as they are unless they hold what PostgreSQL has no room for."""
    try:
        written = orjson.dumps(notes)
    except TypeError:
        return _replaced(notes)
    return _replaced(notes) if b"\\u0000" in written else orjson.loads(written)


def _replaced(value: Any) -> Any:
    """The same with U+FFFD for what cannot be stored, in names as in values."""
    if isinstance(value, str):
        return UNSTORABLE.sub("\ufffd", value)
    if isinstance(value, dict):
        return {_replaced(name): _replaced(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_replaced(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
