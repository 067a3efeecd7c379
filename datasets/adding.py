"""Carry out addition tasks: turn a selection into entries, one batch per transaction.

(1) Claim the task. (2) Fix the set, as exports do. (3) For each batch upload the inputs
(``shared_blobs``), then write entries and progress in one transaction. The dataset is locked
in it, against publishing and other writers. A crash leaves whole batches; the next attempt
continues after them.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from typing import Any

from django.db import transaction
from django.db.models.functions import Now

from datasets import shared_blobs
from datasets.models import (
    AddingTask,
    Dataset,
    DatasetBlob,
    DatasetEntry,
    DatasetSource,
)
from exports.member_sets import fix_selected, selected_batches
from exports.members import Batch, Member, Skip
from inferences.models import RegisteredModel
from inferences.models.ground_truth import GroundTruth
from inferences.models.metadata_values import canonical
from inferences.predictions.parse import deconstructed
from inferences.predictions.parsers import Deconstructed
from istore import blobs
from istore.failpoints import failpoint
from istore.tasks.tracking import Failed, Stopped

TRIES = 5  # of one batch, if an input is removed between its lookup and the transaction
ADDED, UPDATED, UNCHANGED = "added", "updated", "unchanged"
DUPLICATES, SKIPPED, DELETED = "duplicates", "skipped_duplicates", "deleted"
WITHOUT_INPUT = "without_input"
COUNTS = (ADDED, UPDATED, UNCHANGED, DUPLICATES, SKIPPED, WITHOUT_INPUT, DELETED)


def carry_out(task: AddingTask) -> None:
    """Add what the task selects. Does nothing if another worker holds the task."""
    if not task.claim():
        return
    failpoint("datasets.claimed")
    with task.recording_outcome():
        if task.fixed_at is None:
            fix_selected(task)
        failpoint("datasets.set_fixed")
        source = source_of(task.dataset, task.model)
        for batch in selected_batches(task, passed=task.progress_count):
            _add(task, source, batch)
            failpoint("datasets.batch_added")
        task.parts.all().delete()


def source_of(dataset: Dataset, model: RegisteredModel) -> DatasetSource:
    """Return the source that records how the model's answers are parsed now.

    The first addition sets the dataset's task type. Raises ``Failed`` for a model with
    another task type.
    """
    with transaction.atomic():
        dataset = Dataset.objects.select_for_update().get(pk=dataset.pk)
        if not dataset.task_type:
            dataset.task_type = model.task_type
            dataset.save(update_fields=["task_type"])
        if dataset.task_type != model.task_type:
            raise Failed(
                f"{dataset} holds {dataset.task_type}, {model} does {model.task_type}."
            )
        facts = {
            "model_id": model.model_id,
            "task_type": model.task_type,
            "class_labels": model.class_labels,
            "first_class_number": model.first_class_number,
            "box_format": model.box_format,
            "embedding_size": model.embedding_size,
        }
        return dataset.sources.filter(**facts).first() or dataset.sources.create(
            **facts
        )


def _add(task: AddingTask, source: DatasetSource, batch: Batch) -> None:
    members = list(batch.members())
    try:
        for attempt in range(1, TRIES + 1):
            found = shared_blobs.put(task.dataset.project, members)
            try:
                needless = _write_batch(task, source, batch, members, found)
            except shared_blobs.Gone:
                if attempt == TRIES:
                    raise
                continue
            blobs.delete(needless)
            return
    finally:
        for member in members:
            member.close()


@transaction.atomic
def _write_batch(
    task: AddingTask,
    source: DatasetSource,
    batch: Batch,
    members: list[Member],
    found: dict[str, DatasetBlob],
) -> list[str]:
    dataset = Dataset.objects.select_for_update().get(pk=task.dataset_id)
    if dataset.deleted_at:
        raise Stopped("The dataset was deleted.")
    needless = shared_blobs.save(dataset.project, found)
    counts = Counter(task.counts)
    counts[DELETED] += len(batch.deleted)
    entries = _entries(task, dataset, source, batch, members, found)
    same = {
        each.inference_id: each
        for each in dataset.entries.current().filter(
            model_id=source.model_id,
            inference_id__in=[each.inference_id for each in entries],
        )
    }
    hashes = [each.data_hash for each in entries]
    # Served by the index dataset_entry_input.
    known = dataset.entries.current().filter(data_hash__in=hashes)
    seen = Counter(bytes(each) for each in known.values_list("data_hash", flat=True))
    fresh, replaced = [], []
    for entry in entries:
        before = same.get(entry.inference_id)
        if before and bytes(before.content_hash) == entry.content_hash:
            counts[UNCHANGED] += 1
            continue
        if before:
            counts[UPDATED] += 1
            replaced.append(before)
            fresh.append(entry)
            continue
        data_hash = bytes(entry.data_hash)
        if seen[data_hash]:
            counts[DUPLICATES] += 1
            if task.skip_duplicates:
                counts[SKIPPED] += 1
                continue
        seen[data_hash] += 1
        counts[ADDED] += 1
        counts[WITHOUT_INPUT] += entry.blob_id is None
        fresh.append(entry)
    leave(dataset, replaced)
    DatasetEntry.objects.bulk_create(fresh)
    Dataset.objects.filter(pk=dataset.pk).update(updated_at=Now())
    task.advance(
        progress_count=batch.first_number - 1 + len(batch.row_ids), counts=dict(counts)
    )
    return needless


def leave(dataset: Dataset, entries: list[DatasetEntry]) -> None:
    """Remove entries from the working version; published versions keep theirs.

    Entries that are new in the working version are in no other, so their rows are deleted.
    Older entries get ``gone_version``.
    """
    fresh = [entry.pk for entry in entries if entry.first_version == dataset.working]
    old = [entry.pk for entry in entries if entry.first_version < dataset.working]
    DatasetEntry.objects.filter(pk__in=fresh).delete()
    DatasetEntry.objects.filter(pk__in=old).update(gone_version=dataset.working)


def _entries(
    task: AddingTask,
    dataset: Dataset,
    source: DatasetSource,
    batch: Batch,
    members: list[Member],
    found: dict[str, DatasetBlob],
) -> list[DatasetEntry]:
    truths = dict(
        GroundTruth.objects.beside(batch.model)
        .filter(id__in=batch.row_ids)
        .values_list("id", "truth")
    )
    common = {
        "dataset": dataset,
        "source": source,
        "model_id": source.model_id,
        "first_version": dataset.working,
        "added_by": task.created_by,
    }
    return [_entry(member, truths, found, common) for member in members]


def _entry(
    member: Member,
    truths: dict[int, dict[str, Any]],
    found: dict[str, DatasetBlob],
    common: dict[str, Any],
) -> DatasetEntry:
    inference = member.inference
    assert inference is not None  # the members are those of records
    truth = truths.get(inference.id)
    try:
        blob = found.get(member.content.sha256.hex())
    except Skip:
        blob = None
    try:
        answer = member.answer
    except Skip:  # its blob is damaged: the entry has no answer
        answer = ""
    metadata = {key: list(value) for key, value in member.metadata.items()}
    entry = DatasetEntry(
        **common,
        inference_id=member.inference_id,
        row_id=inference.id,
        happened_at=member.created_at,
        inference_action=inference.inference_action,
        data_hash=member.data_hash,
        data_size=member.data_size,
        data_source=member.data_source,
        latitude=member.latitude,
        longitude=member.longitude,
        blob=blob,
        answer=answer,
        metadata=metadata,
        truth=truth,
        embedding=list(member.embedding) if member.embedding is not None else None,
    )
    content = [answer, metadata, truth, blob.sha256 if blob else None]
    entry.content_hash = hashlib.sha256(canonical(content)).digest()
    entry.labels = labels_of(entry)
    note_answer(entry)
    return entry


def labels_of(entry: DatasetEntry) -> list[str] | None:
    """Return the labels of the annotations, with repetitions; None if they cannot be read."""
    from datasets.annotations import annotations_of  # here, against a circular import

    return _labels_in(annotations_of(entry))


def note_answer(entry: DatasetEntry) -> None:
    """Set the labels and scores of what the model said; of a distribution its best class."""
    found = deconstructed(entry.source, entry.answer)
    entry.answer_labels = _labels_in(found)
    entry.answer_scores = None
    if entry.answer_labels is not None:
        entry.answer_scores = [each.score for each in found.meant]


def _labels_in(found: Deconstructed) -> list[str] | None:
    if not found.understood or not found.kind.has_labels:
        return None
    return [each.label for each in found.meant]
