"""Create an inference without the proxy, from a request of the API.

Everything is checked first. Then the upload is copied to its own key. Then one transaction
writes the record, binds the upload and writes the audit entry. A repeat of the same request
finds the record that it made.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import filetype
from django.conf import settings

from inferences.models import InferenceAction, RegisteredModel
from inferences.models.metadata_values import (
    LEAVES_TOGETHER_MAX,
    RESERVED,
    MetadataValue,
)
from inferences.models.row_ids import EARLIEST
from inferences.predictions.derived_metadata import derived_metadata
from inferences.predictions.model_types import LISTED, MODEL_TYPES
from inferences.predictions.parse import deconstructed
from inferences.predictions.parsers import Deconstructed
from inferences.real_numbers import beyond_reals
from inferences.store import uploads
from inferences.store.recording import NewInference, Outcome, record, record_alone
from istore import blobs
from istore.db import clock
from istore.errors import BadInput, Conflict, Invalid, StoreError
from istore.json_text import write_json
from istore.models import AuditEntry
from istore.uuids import uuid7

METADATA_MAX_ITEMS: int = settings.ISTORE_METADATA_MAX_ITEMS
CREATE = "inference.create"  # of the audit log
AHEAD = timedelta(seconds=300)  # by which a caller's clock may be ahead of ours
# Parts whose form no serializer checks, so that the parsers check it here.
CHECKED = {each.kind for each in MODEL_TYPES if each.reader}
SHAPED = [each.kind for each in MODEL_TYPES if each.shape]


@dataclass(frozen=True, slots=True)
class Creation:
    """A create request, parsed and checked as far as it can be without the model.

    Raises ``ValueError``.
    """

    inference_id: str
    inference_action: InferenceAction
    data_hash: bytes
    data_size: int
    parts: dict[str, Any]  # the collection of the contract: object_detection, …
    metadata: Sequence[MetadataValue] = ()
    data_source: str | None = None
    latitude: float | None = None
    longitude: float | None = None
    data_storage_key: str | None = None
    created_at: datetime | None = None
    is_protected: bool = False
    notes: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if (self.latitude is None) != (self.longitude is None):
            raise ValueError("latitude and longitude come together.")
        if self.created_at and self.created_at < EARLIEST:
            raise ValueError("created_at: not before 1949.")
        keys = [value.key for value in self.metadata]
        if reserved := RESERVED.intersection(keys):
            raise ValueError(f"{min(reserved)} is standard metadata, not extended.")
        if len(keys) > len(set(keys)):
            raise ValueError("A metadata key is there once.")
        if len(keys) > METADATA_MAX_ITEMS:
            raise ValueError(f"More than {METADATA_MAX_ITEMS} metadata.")
        leaves = sum([len(value.comparable) for value in self.metadata])
        if leaves > LEAVES_TOGETHER_MAX:
            raise ValueError(
                f"The metadata has more than {LEAVES_TOGETHER_MAX} leaves together."
            )


def create(
    actor: object, model: RegisteredModel, wanted: Creation
) -> tuple[str, Outcome]:
    """Store the inference; return its id and whether it is new or a copy.

    Raises ``StoreError`` when the request does not fit or the id is taken.
    """
    staged, refusal = _settle(model, wanted)
    new = compose(model, wanted, clock.now(), staged)
    return _record_bound(actor, model, new, staged, refusal)


def create_one(
    actor: object, model: RegisteredModel, wanted: Creation, now: datetime
) -> tuple[NewInference, int | None, Outcome]:
    """Store the inference of a call that came at ``now``, as ``create`` does.

    Returns it with its row id, or without one where it was stored by more than one statement
    or is a copy.
    """
    staged, refusal = _settle(model, wanted)
    new = compose(model, wanted, now, staged)
    if not staged and not refusal:
        row_id = record_alone(model, new, actor, CREATE)
        if row_id is not None:
            return new, row_id, Outcome.NEW
    _, outcome = _record_bound(actor, model, new, staged, refusal)
    return new, None, outcome


def _record_bound(
    actor: object,
    model: RegisteredModel,
    new: NewInference,
    staged: uploads.Staged | None,
    refusal: StoreError | None,
) -> tuple[str, Outcome]:
    """Store the inference and bind its upload, or drop the upload where it is not new."""

    def also(stored: set[str]) -> None:
        if stored:
            if refusal:
                raise refusal
            if staged:
                staged.bind()
            AuditEntry.write(actor, CREATE, new.inference_id, model.project)

    try:
        outcome = record(model, [new], also)[new.inference_id]
    except BaseException:
        _drop(staged)
        raise
    if outcome is not Outcome.NEW:
        _drop(staged)
    return new.inference_id, refused_unless_stored(outcome)


def refused_unless_stored(outcome: Outcome) -> Outcome:
    """Return the outcome, or raise the ``Conflict`` of an id that is taken or was removed."""
    if outcome is Outcome.OTHER:
        message = "An inference of this id is stored with other content."
        raise Conflict("inference-exists", message)
    if outcome is Outcome.REMOVED:
        message = "An inference of this id was removed; the id is free again later."
        raise Conflict("inference-deleted", message)
    return outcome


def _settle(
    model: RegisteredModel, wanted: Creation
) -> tuple[uploads.Staged | None, StoreError | None]:
    """Return the upload at its final key, or the refusal of the upload.

    The refusal is raised only if the record turns out to be new: of a repeat the upload is
    bound already, and the stored record answers.
    """
    if not wanted.data_storage_key:
        return None, None
    try:
        row = uploads.find(model, wanted.data_storage_key, uploads.DATA)
    except StoreError as refusal:
        # The upload of a create that succeeded before is bound. If this is a repeat, the
        # stored record answers.
        return None, refusal
    moment = wanted.created_at or clock.now()
    prefix = blobs.prefix_for(model.project_id, model.pk, moment, uuid7())
    staged = uploads.settle(row, f"{prefix}/{blobs.INPUT}")
    if staged.sha256 != wanted.data_hash:
        _drop(staged)
        raise BadInput("hash-mismatch", "data_hash is not that of what was uploaded.")
    if staged.size != wanted.data_size:
        _drop(staged)
        raise BadInput("size-mismatch", "data_size is not that of what was uploaded.")
    return staged, None


def _drop(staged: uploads.Staged | None) -> None:
    if staged:
        blobs.delete([staged.storage_key])


def compose(
    model: RegisteredModel,
    wanted: Creation,
    now: datetime,
    staged: uploads.Staged | None = None,
) -> NewInference:
    """Return the record to store. Raises ``Invalid`` when the answer does not fit the model."""
    if wanted.created_at and wanted.created_at > now + AHEAD:
        raise Invalid("More than 300 s ahead of now.", "created_at")
    found = taken_apart(model, wanted.parts)
    content_type = ""
    if staged:
        content_type = (
            filetype.guess_mime(staged.beginning) or "application/octet-stream"
        )
    given_at = wanted.created_at.isoformat() if wanted.created_at else None
    moment = wanted.created_at or now
    return NewInference(
        inference_id=wanted.inference_id,
        inference_action=wanted.inference_action,
        data_hash=wanted.data_hash,
        data_size=wanted.data_size,
        created_at=moment,
        metadata=wanted.metadata,
        latitude=wanted.latitude,
        longitude=wanted.longitude,
        data_source=wanted.data_source or None,
        detections=found.pairs if found else None,
        embedding=found.embedding if found else None,
        is_protected=wanted.is_protected,
        data=write_json(wanted.parts) if wanted.parts else "",
        data_storage_key=staged.storage_key if staged else "",
        data_content_type=content_type,
        content=[wanted.parts, given_at, wanted.is_protected],
        notes={"times": {"indexed": now.isoformat()}, **wanted.notes},
        derived=derived_metadata(found, wanted.metadata),
    )


def taken_apart(model: RegisteredModel, parts: dict[str, Any]) -> Deconstructed | None:
    """Return the parsed parts of a collection, or None if it is empty.

    Raises ``Invalid`` for a vector of the wrong length, a number that cannot be stored, or an
    item that has not the form of its part.
    """
    vector = parts.get("embedding")
    if vector is not None:
        if not model.embedding_size:
            raise Invalid(
                "The model is registered without embeddings.", "data", "embedding"
            )
        if len(vector) != model.embedding_size:
            message = f"The model's embeddings have {model.embedding_size} numbers."
            raise Invalid(message, "data", "embedding")
    if not parts:
        return None
    if beyond := beyond_reals(parts):
        path, message = beyond
        raise Invalid(message, "data", *path)
    for name in parts.keys() & CHECKED:
        if not deconstructed(model, {name: parts[name]}).understood:
            raise Invalid("It has not the form of this part.", "data", name)
    found = deconstructed(model, parts)
    given = sum(len(parts[name]) for name in LISTED if name in parts)
    shaped = sum(len(parts[name]) for name in SHAPED if name in parts)
    seen = sum(one.shape is not None for one in found.detections)
    if given != len(found.detections) or shaped > seen:
        _check_items(model, parts)
    return found


def _check_items(model: RegisteredModel, parts: dict[str, Any]) -> None:
    """Raise ``Invalid`` that names the first item that cannot be parsed on its own."""
    for name in LISTED:
        for place, item in enumerate(parts.get(name, ())):
            alone = deconstructed(model, {name: [item]}).detections
            has_shape = len(alone) == 1 and alone[0].shape is not None
            if len(alone) != 1 or (name in SHAPED and not has_shape):
                message = "This item has not the form of its part."
                raise Invalid(message, "data", name, str(place))


def record_batch(
    actor: object, model: RegisteredModel, batch: Sequence[NewInference]
) -> dict[str, Outcome]:
    """Store many inferences that were composed one by one, and write one audit entry."""

    def also(stored: set[str]) -> None:
        if stored:
            AuditEntry.write(
                actor,
                "inference.batch",
                model.model_id,
                model.project,
                count=len(stored),
            )

    return record(model, batch, also)
