"""Records with all their blobs, as ``verify --deep`` wants them."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Iterable
from datetime import UTC, datetime

from istore import blobs
from istore.blobs import packs

HOUR = datetime(2025, 6, 1, tzinfo=UTC)


def with_objects(make_inference, model, name: str, content: bytes | None = None):
    """Return a record with input, answer and marker as objects of their own."""
    prefix = blobs.prefix_for(model.project_id, model.pk, HOUR, str(uuid.uuid4()))
    content = content or f"input of {name}".encode()
    answer = f"answer of {name}".encode()
    blobs.put(f"{prefix}/{blobs.INPUT}", content)
    blobs.put(f"{prefix}/{blobs.ANSWER}", answer)
    blobs.put(f"{prefix}/{blobs.METADATA}", marker_of(answer))
    return make_inference(
        {"person": name},
        inference_id=name,
        data_hash=hashlib.sha256(content).digest(),
        data_size=len(content),
        data_storage_key=f"{prefix}/{blobs.INPUT}",
        answer_storage_key=f"{prefix}/{blobs.ANSWER}",
    )


def in_packs(make_inference, model, names: Iterable[str]) -> list[str]:
    """Make records whose inputs and answers are members of packs; return the keys of the packs."""
    names = list(names)
    hour = blobs.prefix_for(model.project_id, model.pk, HOUR, "").rstrip("/")
    captures = [uuid.uuid4().bytes for _ in names]
    contents = [f"input of {name}".encode() for name in names]
    answers = [f"answer of {name}".encode() for name in names]
    markers = map(marker_of, answers)
    inputs = packs.build_inputs(
        packs.new_key(hour, packs.INPUTS), zip(captures, contents, strict=True)
    )
    records = packs.build_records(
        packs.new_key(hour, packs.RECORDS), zip(captures, markers, answers, strict=True)
    )
    for pack in (inputs, records):
        blobs.put(pack.key, pack.body)
    for name, content, of_input, of_record in zip(
        names, contents, inputs.members, records.members, strict=True
    ):
        make_inference(
            {"person": name},
            inference_id=name,
            data_hash=hashlib.sha256(content).digest(),
            data_size=len(content),
            data_storage_key=of_input.content_key(inputs.key),
            answer_storage_key=of_record.content_key(records.key),
        )
    return [inputs.key, records.key]


def marker_of(answer: bytes) -> bytes:
    return json.dumps(
        {"answer": {"sha256": hashlib.sha256(answer).hexdigest()}}
    ).encode()
