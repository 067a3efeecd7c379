"""What the proxy leaves behind: blobs in their places, and an event that names them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from uuid import UUID, uuid4

import orjson

from inferences.models import RegisteredModel
from inferences.store.marker_form import marker_in_pack
from ingest.events import InferenceEvent
from istore import blobs
from istore.blobs import packs

ALL = ["answer", "input", "metadata"]  # the kinds of blobs
PACKED = True  # what ``capture`` makes unless told otherwise
MOMENT = datetime(2025, 6, 1, 12, 0, 0, 123456, tzinfo=UTC)
PICTURE = b"\x89PNG picture"
DETECTED = {
    "outputs": [
        {
            "name": "detections",
            "datatype": "BYTES",
            "shape": [1],
            "data": [
                json.dumps(
                    [{"label": "ship", "score": 0.9, "bbox": [1.0, 2.0, 3.0, 4.0]}]
                )
            ],
        }
    ]
}


class Made(NamedTuple):
    """One inference that is not put yet, with the keys of objects of its own."""

    event: InferenceEvent
    picture: bytes
    answer: bytes
    marker: dict


def capture(
    model: RegisteredModel,
    inference_id: str = "a",
    *,
    inline: bool = True,
    packed: bool | None = None,
    **told: object,
) -> InferenceEvent:
    """Put the blobs of one inference; return the event, not yet published.

    They are members of packs of their own, or three objects: then ``inline`` has the marker
    repeat the answer. What is ``told`` is that of ``make``.
    """
    made = make(model, inference_id, **told)
    if PACKED if packed is None else packed:
        (event,) = put_packs([made])
        return event
    return put_objects(made, inline=inline)


def put_objects(made: Made, *, inline: bool = True) -> InferenceEvent:
    """Put one inference as three objects, the answer also in the marker; return its event."""
    event, stated = made.event, made.marker["answer"]
    if inline and isinstance(stated, dict):
        stated["text"] = made.answer.decode()
    blobs.put(event.data_storage_key, made.picture)
    blobs.put(event.inference_storage_key, made.answer)
    blobs.put(event.metadata_storage_key, json.dumps(made.marker).encode())
    return event


def capture_all(some: Sequence[Made]) -> list[InferenceEvent]:
    """Put inferences of one model and hour as ``capture`` does, members of packs together."""
    return put_packs(some) if PACKED else [put_objects(each) for each in some]


def make(
    model: RegisteredModel,
    inference_id: str = "a",
    *,
    unique: UUID | None = None,
    received_at: datetime = MOMENT,
    published_at: datetime | None = None,
    picture: bytes = PICTURE,
    answer: object = DETECTED,
    **marker: object,
) -> Made:
    """Return one inference. ``answer`` is JSON or the bytes of a body.

    What is in ``marker`` replaces members of the marker.
    """
    prefix = blobs.prefix_for(
        model.project_id, model.pk, received_at, str(unique or uuid4())
    )
    event = InferenceEvent(
        model_id=model.model_id,
        inference_id=inference_id,
        request_received_at=received_at,
        request_forwarded_at=received_at + timedelta(milliseconds=1),
        request_responded_at=received_at + timedelta(milliseconds=20),
        event_published_at=published_at or datetime.now(UTC),
        data_storage_key=f"{prefix}/input",
        inference_storage_key=f"{prefix}/answer",
        metadata_storage_key=f"{prefix}/metadata",
    )
    body = answer if isinstance(answer, bytes) else orjson.dumps(answer)
    stated = {
        "sha256": hashlib.sha256(body).hexdigest(),
        "size": len(body),
        "content_type": "application/json",
        "header_length": None,
        "status": 200,
    }
    value = {
        "format": 1,
        "event": event.as_dict(),
        "inference_action": "detect",
        "input": {
            "sha256": hashlib.sha256(picture).hexdigest(),
            "size": len(picture),
            "content_type": "image/png",
            "name": "image",
            "datatype": "BYTES",
            "shape": [1],
        },
        "answer": stated,
        "metadata": [],
        "latitude": None,
        "longitude": None,
        "data_source": None,
        "request_part": [0, 1],
        "warnings": [],
    } | marker
    return Made(event, picture, body, value)


def put_packs(
    some: Sequence[Made], *, own_inputs: bool = False
) -> list[InferenceEvent]:
    """Put inferences of one model and hour into two packs; return their events.

    With ``own_inputs`` the inputs are objects of their own, as large ones are.
    """
    folders = [each.event.data_storage_key.rpartition("/")[0] for each in some]
    hour = folders[0].rpartition("/")[0]
    names = [UUID(each.rpartition("/")[2]).bytes for each in folders]
    data_keys = [each.event.data_storage_key for each in some]
    if own_inputs:
        for each, key in zip(some, data_keys, strict=True):
            blobs.put(key, each.picture)
    else:
        inputs = packs.build_inputs(
            packs.new_key(hour, packs.INPUTS),
            zip(names, [each.picture for each in some], strict=True),
        )
        blobs.put(inputs.key, inputs.body)
        data_keys = [each.content_key(inputs.key) for each in inputs.members]
    markers = [
        json.dumps(marker_in_pack(each.marker, each.event.as_dict(), key)).encode()
        for each, key in zip(some, data_keys, strict=True)
    ]
    records = packs.build_records(
        packs.new_key(hour, packs.RECORDS),
        zip(names, markers, [each.answer for each in some], strict=True),
    )
    blobs.put(records.key, records.body)
    return [
        replace(
            each.event,
            data_storage_key=key,
            inference_storage_key=member.content_key(records.key),
            metadata_storage_key=member.marker_key(records.key),
        )
        for each, key, member in zip(some, data_keys, records.members, strict=True)
    ]


def with_marker(event: InferenceEvent, content: bytes) -> InferenceEvent:
    """Put other bytes in the place of a marker; return the event that names them."""
    key = event.metadata_storage_key
    if not packs.is_member(key):
        blobs.put(key, content)
        return event
    old = packs.pack_of(key)
    (member,) = packs.read_index(old)
    answer = blobs.get(event.inference_storage_key)
    records = packs.build_records(
        packs.new_key(old.rpartition("/")[0], packs.RECORDS),
        [(member.unique, content, answer)],
    )
    blobs.put(records.key, records.body)
    blobs.delete([event.inference_storage_key])
    (member,) = records.members
    return replace(
        event,
        inference_storage_key=member.content_key(records.key),
        metadata_storage_key=member.marker_key(records.key),
    )


def rewritten(event: InferenceEvent, /, **changes: object) -> InferenceEvent:
    """Put a marker with these changes; return the event that names it."""
    value = json.loads(blobs.get(event.metadata_storage_key))
    return with_marker(event, json.dumps(value | changes).encode())


def kinds_left(event: InferenceEvent) -> list[str]:
    """Return which blobs of an inference can still be read."""
    keys = keys_of(event)
    answer = event.inference_storage_key
    if packs.is_member(answer) and packs.is_released(answer):
        del keys["metadata"]  # the key of its answer releases a record whole
    return [kind for kind, key in keys.items() if _is_left(key)]


def keys_of(event: InferenceEvent) -> dict[str, str]:
    """Return the keys of the blobs of an inference, by their kinds."""
    return {
        "answer": event.inference_storage_key,
        "input": event.data_storage_key,
        "metadata": event.metadata_storage_key,
    }


def _is_left(key: str) -> bool:
    if packs.is_member(key) and packs.is_released(key):
        return False
    return blobs.exists(key)


def published_now(event: InferenceEvent) -> InferenceEvent:
    return replace(event, event_published_at=datetime.now(UTC))


def make_event(**changes):
    at = datetime(2026, 3, 4, 5, 6, 7, 89, tzinfo=UTC)
    values = {
        "model_id": "harbour",
        "inference_id": 'a/ü"b',
        "request_received_at": at,
        "request_forwarded_at": at + timedelta(microseconds=1),
        "request_responded_at": at + timedelta(seconds=1),
        "event_published_at": at + timedelta(seconds=2),
        "data_storage_key": "1/2/2026/03/04/05/x/input",
        "inference_storage_key": "1/2/2026/03/04/05/x/answer",
        "metadata_storage_key": "1/2/2026/03/04/05/x/metadata",
    }
    return InferenceEvent(**values | changes)
