"""What the proxy leaves behind: blobs in their places, and an event that names them."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import orjson

from inferences.models import RegisteredModel
from ingest.events import InferenceEvent
from istore import blobs

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


def capture(
    model: RegisteredModel,
    inference_id: str = "a",
    *,
    unique: UUID | None = None,
    received_at: datetime = MOMENT,
    published_at: datetime | None = None,
    picture: bytes = PICTURE,
    answer: object = DETECTED,
    inline: bool = True,
    **marker: object,
) -> InferenceEvent:
    """Put the three blobs of one inference; return the event, not yet published.

    ``answer`` is JSON or the bytes of a body; what is in ``marker`` replaces members of
    the metadata blob.
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
        "answer": stated | ({"text": body.decode()} if inline else {}),
        "metadata": [],
        "latitude": None,
        "longitude": None,
        "data_source": None,
        "request_part": [0, 1],
        "warnings": [],
    } | marker
    blobs.put(event.data_storage_key, picture)
    blobs.put(event.inference_storage_key, body)
    blobs.put(event.metadata_storage_key, json.dumps(value).encode())
    return event


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
