"""Import records of an export: the reader of its NDJSON format.

A line with ``record`` is not a create: it has what was stored, the answer as it arrived and
the labels as they were parsed, and nothing is parsed again. Its input and its answer are
files beside it. If the record comes again, it is compared by its own ``content_hash``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from django.db import connection

from inferences.ground_truth.truths import read_truth
from inferences.ground_truth.writes import Given, write
from inferences.imports.api.record_lines import FileBeside, LineTruth, RecordLine
from inferences.models import Inference, InferenceKey, RegisteredModel
from inferences.models.row_ids import EARLIEST
from inferences.store.creation import AHEAD
from inferences.store.lookup import row_ids_of
from inferences.store.recording import NewInference, Outcome, record
from istore import blobs
from istore.errors import Invalid
from istore.models import AuditEntry
from istore.uuids import uuid7


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


def restore(
    model: RegisteredModel, body: Any, directory: Path, now: datetime
) -> Restored:
    """Return the record of a line, with its files copied to new blob keys. Raises ``Invalid``.

    ``directory`` is where the line's file is: files outside of it are refused.
    """
    line = RecordLine.from_json(body).with_columns()
    moment = line.created_at
    if moment < EARLIEST:
        raise Invalid("Not before 1949.", "created_at")
    if moment > now + AHEAD:
        raise Invalid("More than 300 s ahead of now.", "created_at")
    if line.embedding is not None and len(line.embedding) != model.embedding_size:
        raise Invalid(
            f"The model's embeddings have {model.embedding_size} numbers.", "embedding"
        )
    prefix = blobs.prefix_for(model.project_id, model.pk, moment, uuid7())
    found = line.detections
    if line.probabilities is not None and model.answers_one_class:
        found = line.probabilities
    truth = _truth(model, line.ground_truth)
    input_key, answer_key = f"{prefix}/{blobs.INPUT}", f"{prefix}/{blobs.ANSWER}"
    if line.input:
        _copy(directory, line.input, "input", input_key, line.data_hash)
    if line.answer:
        _copy(directory, line.answer, "answer", answer_key)
    return Restored(
        inference_id=line.inference_id,
        inference_action=line.inference_action,
        data_hash=line.data_hash,
        created_at=moment,
        data_size=line.data_size,
        metadata=tuple(line.metadata),
        latitude=line.latitude,
        longitude=line.longitude,
        data_source=line.data_source,
        detections=found,
        embedding=line.embedding,
        is_protected=line.is_protected,
        data=line.data,
        data_storage_key=input_key if line.input else "",
        data_content_type=line.input.content_type if line.input else "",
        answer_storage_key=answer_key if line.answer else "",
        notes=line.notes or {},
        kept_content_hash=line.content_hash,
        updated_at=line.updated_at,
        ground_truth=truth,
    )


def _truth(model: RegisteredModel, given: LineTruth | None) -> Given | None:
    if given is None:
        return None
    try:
        truth = read_truth(given.truth, model.task_type)
    except Invalid as error:
        raise error.beneath("ground_truth", "truth") from None
    return Given(truth, given.set_by, given.set_at)


def _copy(
    directory: Path,
    file: FileBeside,
    name: str,
    key: str,
    digest: bytes | None = None,
) -> None:
    root = directory.resolve()
    path = (root / file.path).resolve()
    if not path.is_relative_to(root) or not path.is_file():
        raise Invalid("There is no such file beside the line.", name, "path")
    content = path.read_bytes()
    if digest is not None and hashlib.sha256(content).digest() != digest:
        raise Invalid("The file is not what data_hash says.", name, "path")
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
