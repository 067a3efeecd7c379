"""Rows of pages as JSON, straight from the database, under the names of the contract.

A page of a thousand goes through here. Instances of models would take twice the time, and the
fields of ``InferenceSerializer``, which describes the rows, ten times; ``test_described_answers``
holds both together.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from inferences.models import Inference, InferenceAction, RegisteredModel
from inferences.models.metadata_values import as_given, in_slot
from inferences.models.row_ids import moment_of
from inferences.store import reading
from inferences.store.notes import warnings_of, without_empty_warnings
from inferences.store.recording import NewInference
from istore import blobs
from istore.json_text import format_moment

ACTION_LABELS = dict(InferenceAction.choices)
SELECT = (
    "SELECT row.id, row.inference_id, row.updated_at, row.inference_action, cold.data,"
    " cold.metadata, encode(row.data_hash, 'hex'), row.data_size, row.source_id,"
    " row.latitude, row.longitude,"
    " CASE WHEN cold.input_removal_at IS NULL THEN cold.data_storage_key END,"
    " cold.data_content_type, cold.input_expired_at, row.is_protected, row.version,"
    f" cold.notes{reading.ROWS}"
)
SOURCE, JSON = 8, (5, 16)  # the columns of ``source_id``, and of metadata and notes


def read_page(
    model: RegisteredModel, ids: Sequence[int], *, presign: bool = False
) -> list[dict[str, Any]]:
    """Return the live inferences with these ids, in this order."""
    if not ids:
        return []
    rows = {row[0]: row for row in reading.read_rows(SELECT, model, ids)}
    sources = reading.find_sources(row[SOURCE] for row in rows.values())
    page = []
    for row_id in ids:
        if row_id in rows:
            row = list(rows[row_id])
            for place in JSON:
                row[place] = row[place] and orjson.loads(row[place])
            row[SOURCE] = sources[row[SOURCE]].name if row[SOURCE] else None
            page.append(_fields(model.model_id, presign, *row))
    return page


def to_json(inference: Inference, *, presign: bool = False) -> dict[str, Any]:
    """Return an inference that was read as an instance, with its answer fields if it has any."""
    payload, source = inference.payload, inference.source
    fields = _fields(
        inference.registered_model.model_id,
        presign,
        inference.id,
        inference.inference_id,
        inference.updated_at,
        inference.inference_action,
        payload.data,
        payload.metadata,
        bytes(inference.data_hash).hex(),
        inference.data_size,
        source.name if source else None,
        inference.latitude,
        inference.longitude,
        payload.input_key,
        payload.data_content_type,
        payload.input_expired_at,
        inference.is_protected,
        inference.version,
        payload.notes,
    )
    fields["embedding_distance"] = getattr(inference, "embedding_distance", None)
    if read := getattr(inference, "answer_fields", None):
        fields |= read
    return fields


def new_to_json(
    model: RegisteredModel, new: NewInference, row_id: int
) -> dict[str, Any]:
    """Return an inference that was just stored, as a read of it would."""
    metadata = as_given(new.kept_metadata)
    return _fields(
        model.model_id,
        False,
        row_id,
        new.inference_id,
        None,
        new.inference_action,
        new.data,
        # In the order of PostgreSQL's jsonb.
        {key: metadata[key] for key in sorted(metadata, key=_order_of_jsonb)},
        new.data_hash.hex(),
        new.data_size,
        in_slot(new.data_source) if new.data_source else None,
        new.latitude,
        new.longitude,
        new.data_storage_key,
        new.data_content_type,
        None,
        new.is_protected,
        1,
        without_empty_warnings(new.notes) or None,
    )


def _order_of_jsonb(key: str) -> tuple[int, bytes]:
    encoded = key.encode()
    return len(encoded), encoded


def _fields(
    model_id: str,
    presign: bool,
    row_id: int,
    inference_id: str,
    updated_at: Any,
    action: int,
    data: str,
    metadata: dict[str, list[str]],
    data_hash: str,
    data_size: int,
    source: str | None,
    latitude: float | None,
    longitude: float | None,
    input_key: str | None,
    content_type: str,
    expired_at: Any,
    is_protected: bool,
    version: int,
    notes: Any,
) -> dict[str, Any]:
    moment = format_moment(moment_of(row_id))
    coordinates = None
    if latitude is not None and longitude is not None:
        coordinates = {"latitude": latitude, "longitude": longitude}
    return {
        "model_id": model_id,
        "inference_id": inference_id,
        "created_at": moment,
        "updated_at": format_moment(updated_at) if updated_at else moment,
        "inference_action": ACTION_LABELS[action],
        "data": data or None,
        "embedding_distance": None,
        "metadata": [
            {"key": key, "type": value[0], "value": value[1]}
            for key, value in metadata.items()
        ],
        "data_hash": data_hash,
        "data_size": data_size,
        "data_source": source,
        "data_coordinates": coordinates,
        "data_storage_key": input_key or None,
        "data_content_type": content_type or None,
        "presigned_url": blobs.presigned_url(input_key)
        if input_key and presign
        else None,
        "input_expired_at": expired_at and format_moment(expired_at),
        "is_protected": is_protected,
        "version": str(version),
        "notes": notes,
        "warnings": warnings_of(notes),
    }
