"""Import records of an export: the reader of its NDJSON format.

A line with ``record`` is not a create: it has what was stored, the answer as it arrived and
the labels as they were parsed, and nothing is parsed again. Its input and its answer are
files beside it. If the record comes again, it is compared by its own ``content_hash``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import connection
from rest_framework import serializers

from inferences.ground_truth.truths import read_truth
from inferences.ground_truth.writes import ACTOR_CHARS, Given, write
from inferences.models import (
    Inference,
    InferenceAction,
    InferenceKey,
    MetadataType,
    RegisteredModel,
)
from inferences.models.metadata_values import RESERVED, MetadataValue, read_float
from inferences.models.row_ids import EARLIEST
from inferences.real_numbers import beyond_reals
from inferences.search.filters import GeoPoint
from inferences.store.creation import AHEAD
from inferences.store.lookup import row_ids_of
from inferences.store.recording import NewInference, Outcome, record
from istore import blobs
from istore.api.fields import (
    FlagField,
    HashField,
    LabelField,
    MomentField,
    NumberField,
    OutsideIdField,
    TextField,
    WholeField,
)
from istore.api.problems import invalid
from istore.api.serializers import StrictSerializer, ValueSerializer, optional
from istore.models import AuditEntry
from istore.uuids import uuid7

RECORD = 1  # version of the line format; an unknown version is refused


@dataclass(frozen=True, slots=True)
class Restored(NewInference):
    """A record that was stored before, in this store or another one."""

    kept_content_hash: bytes | None = None
    updated_at: datetime | None = None
    ground_truth: Given | None = None

    @property
    def content_hash(self) -> bytes:
        """Return the hash that the record was stored with, or else a new one."""
        # A slotted dataclass is created anew, so ``super()`` without arguments fails.
        return self.kept_content_hash or super(Restored, self).content_hash


class _FileSerializer(StrictSerializer):
    path = TextField(allow_blank=False)
    content_type = TextField(max_length=255, required=False, default="")


class _MetadataSerializer(ValueSerializer):
    value_class = MetadataValue

    key = TextField(allow_blank=False)
    type = serializers.ChoiceField(MetadataType.choices)
    value = TextField(source="text")


class _DetectionSerializer(StrictSerializer):
    label: Any = TextField(allow_blank=False)
    score = NumberField(allow_null=True)


class _TruthSerializer(StrictSerializer):
    truth = serializers.DictField()
    set_by = TextField(max_length=ACTOR_CHARS)
    set_at = MomentField()


class RecordSerializer(StrictSerializer):
    """A line, whole; project and model may be those that it came from."""

    record = serializers.ChoiceField([RECORD])
    project_id = TextField(required=False)
    model_id = OutsideIdField(required=False)
    inference_id = OutsideIdField()
    created_at = MomentField()
    updated_at = MomentField(**optional)
    inference_action = LabelField(InferenceAction)
    data_hash = HashField()
    data_size = WholeField(min_value=0, max_value=2**63 - 1)
    data_source = TextField(**optional)
    latitude = NumberField(min_value=-90, max_value=90, **optional)
    longitude = NumberField(min_value=-180, max_value=180, **optional)
    is_protected = FlagField(required=False, default=False)
    metadata = _MetadataSerializer(many=True, required=False)
    embedding = serializers.ListField(
        child=NumberField(), max_length=settings.ISTORE_EMBEDDING_MAX, **optional
    )
    data: Any = TextField(required=False, default="")
    detections = _DetectionSerializer(many=True, **optional)
    # For models that answer one class. Older exports have the distribution as detections.
    probabilities = _DetectionSerializer(many=True, **optional)
    notes = serializers.JSONField(**optional)
    content_hash = HashField(**optional)
    input = _FileSerializer(**optional)
    answer = _FileSerializer(**optional)
    ground_truth = _TruthSerializer(**optional)


def is_record(body: Any) -> bool:
    """Return whether a line is an exported record and not a create."""
    return isinstance(body, dict) and "record" in body


def restore(
    model: RegisteredModel, body: Any, directory: Path, now: datetime
) -> Restored:
    """Return the record of a line, with its files copied to new blob keys. Raises a 400.

    ``directory`` is where the line's file is: files outside of it are refused.
    """
    said = RecordSerializer.parse(body)
    moment = said["created_at"]
    if moment < EARLIEST:
        raise invalid("Not before 1949.", "created_at")
    if moment > now + AHEAD:
        raise invalid("More than 300 s ahead of now.", "created_at")
    vector = said.get("embedding")
    if vector is not None and len(vector) != model.embedding_size:
        raise invalid(
            f"The model's embeddings have {model.embedding_size} numbers.", "embedding"
        )
    _check_reals(said)
    _move_to_columns(said)
    prefix = blobs.prefix_for(model.project_id, model.pk, moment, uuid7())
    found = said.get("detections")
    if said.get("probabilities") is not None and model.answers_one_class:
        found = said["probabilities"]
    given, answer = said.get("input"), said.get("answer")
    input_key, answer_key = f"{prefix}/{blobs.INPUT}", f"{prefix}/{blobs.ANSWER}"
    if given:
        _copy(directory, given, "input", input_key, said["data_hash"])
    if answer:
        _copy(directory, answer, "answer", answer_key)
    return Restored(
        inference_id=said["inference_id"],
        inference_action=said["inference_action"],
        data_hash=said["data_hash"],
        created_at=moment,
        data_size=said["data_size"],
        metadata=tuple(said.get("metadata") or ()),
        latitude=said.get("latitude"),
        longitude=said.get("longitude"),
        data_source=said.get("data_source"),
        detections=None
        if found is None
        else [(each["label"], each["score"]) for each in found],
        embedding=vector,
        is_protected=said["is_protected"],
        data=said["data"],
        data_storage_key=input_key if given else "",
        data_content_type=given["content_type"] if given else "",
        answer_storage_key=answer_key if answer else "",
        notes=said.get("notes") or {},
        kept_content_hash=said.get("content_hash"),
        updated_at=said.get("updated_at"),
        ground_truth=_truth(model, said.get("ground_truth")),
    )


def _move_to_columns(said: dict[str, Any]) -> None:
    """Move latitude, longitude and data source from metadata to their columns.

    They are never stored as metadata. But exports of stores that kept them there for calls
    through the proxy have both.
    """
    given = said.get("metadata") or ()
    said["metadata"] = [value for value in given if value.key not in RESERVED]
    values = {value.key: value.text for value in given if value.key in RESERVED}
    if said.get("data_source") is None and (source := values.get("data_source")):
        said["data_source"] = source
    if said.get("latitude") is None and said.get("longitude") is None:
        with suppress(ValueError, KeyError):  # not a valid place: it stays empty
            place = GeoPoint(
                read_float(values["latitude"]), read_float(values["longitude"])
            )
            said["latitude"], said["longitude"] = place.latitude, place.longitude


def _check_reals(said: dict[str, Any]) -> None:
    names = ("embedding", "detections", "probabilities")
    parts = {name: said[name] for name in names if said.get(name) is not None}
    if beyond := beyond_reals(parts, is_stored=True):
        path, message = beyond
        raise invalid(message, *path)


def _truth(model: RegisteredModel, said: dict[str, Any] | None) -> Given | None:
    if said is None:
        return None
    try:
        truth = read_truth(said["truth"], model.task_type)
    except serializers.ValidationError as error:
        detail = {"ground_truth": {"truth": error.detail}}
        raise serializers.ValidationError(detail) from None
    return Given(truth, said["set_by"], said["set_at"])


def _copy(
    directory: Path,
    said: dict[str, Any],
    name: str,
    key: str,
    digest: bytes | None = None,
) -> None:
    root = directory.resolve()
    path = (root / said["path"]).resolve()
    if not path.is_relative_to(root) or not path.is_file():
        raise invalid("There is no such file beside the line.", name, "path")
    content = path.read_bytes()
    if digest is not None and hashlib.sha256(content).digest() != digest:
        raise invalid("The file is not what data_hash says.", name, "path")
    blobs.put(key, content)


def store_records(
    actor: object, model: RegisteredModel, batch: Sequence[Restored]
) -> dict[str, Outcome]:
    """Store the new records; delete the copied files of those that existed before."""
    moments = {
        new.inference_id: new.updated_at.isoformat() for new in batch if new.updated_at
    }

    def also(stored: set[str]) -> None:
        if stored:
            project = model.project
            AuditEntry.write(
                actor, "inference.import", model.model_id, project, count=len(stored)
            )
        truths = {
            new.inference_id: new.ground_truth
            for new in batch
            if new.ground_truth and new.inference_id in stored
        }
        if truths:
            rows = row_ids_of(model, truths)
            write(model, {row_id: truths[name] for name, row_id in rows.items()})
        changed = {name: moments[name] for name in stored & moments.keys()}
        if changed:
            with connection.cursor() as cursor:
                cursor.execute(UPDATED_AT, [json.dumps(changed), model.pk, model.pk])

    outcomes = record(model, batch, also)
    for new in batch:
        if outcomes[new.inference_id] is not Outcome.NEW:
            blobs.delete([new.data_storage_key, new.answer_storage_key])
    return outcomes


UPDATED_AT = f"""
UPDATE {Inference._meta.db_table} AS row SET updated_at = said.value::timestamptz
FROM json_each_text(%s) AS said
JOIN {InferenceKey._meta.db_table} AS taken
     ON taken.inference_id = said.key AND taken.model_key = %s
WHERE row.model_key = %s AND row.id = taken.row_id
"""
