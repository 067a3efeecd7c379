"""The way out: intent, blobs, row.

An intent is committed under the inference's row lock before its first blob goes, and the
row goes last. So a protect that was answered always wins over retention, after a crash
the intents are the list of what is left to do, and every step may run twice. An intent
hides the inference at once and for good; its key stays behind as a tombstone, which keeps
late copies out for ``ISTORE_TOMBSTONE_DAYS``.
"""

from __future__ import annotations

import posixpath
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.db import connection, models, transaction
from django.db.models import QuerySet
from django.db.models.functions import Now

from inferences import previews
from inferences.models import (
    Detection,
    Embedding,
    GroundTruth,
    GroundTruthVersion,
    Inference,
    InferenceKey,
    InferencePayload,
    InferenceQuerySet,
    MetadataChange,
    MetadataKeyCount,
    OverflowNumber,
    OverflowText,
    RecentEmbedding,
    RegisteredModel,
)
from istore import blobs
from istore.failpoints import failpoint
from istore.models import AuditEntry

# Called in the transaction of the intent, so that it sees the state of that moment.
Chosen = Callable[[], InferenceQuerySet]


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows whose intents are committed together, and the inputs that go with them."""

    ids: list[int]
    blobs: int = 0
    bytes: int = 0


def remove_one(actor: object, model: RegisteredModel, inference_id: str) -> bool:
    """Remove an inference with all that belongs to it. False if there is none."""
    keys = InferenceKey.objects.filter(registered_model=model, removed_at=None)
    row_ids = list(
        keys.filter(inference_id=inference_id).values_list("row_id", flat=True)
    )
    with transaction.atomic():
        chosen = model.inferences.live().filter(id__in=row_ids)
        ids, _ = _intend(model, chosen)
        if ids:
            AuditEntry.write(actor, "inference.delete", inference_id, model.project)
    failpoint("removal.records_intended")
    if ids:
        finish(model, ids)
    return bool(ids)


def intend_all(
    actor: object, model: RegisteredModel, chosen: Chosen
) -> Iterator[list[str]]:
    """Hide for good whatever is chosen, batch by batch; yields the inference ids.

    When the iterator ends every intent is committed; ``finish`` does the rest, now or
    after a crash. Ends with the rows that were there when it began: what arrives
    meanwhile is not chased.
    """
    newest = chosen().order_by("-id").values_list("id", flat=True).first()
    while newest is not None:
        with transaction.atomic():
            batch = chosen().filter(id__lte=newest)
            ids, names = _intend(model, batch)
            if not ids:
                return
            AuditEntry.write(
                actor,
                "inference.bulk_delete",
                model.model_id,
                model.project,
                count=len(ids),
            )
        failpoint("removal.records_intended")
        yield names


def finish(model: RegisteredModel, ids: Sequence[int] | None = None) -> int:
    """Carry out committed intents, these or all of the model; returns how many rows."""
    removed = 0
    while batch := _intended(model, ids):
        _delete_blobs(key for row in batch.values() for key in row)
        failpoint("removal.record_blobs_deleted")
        removed += _remove_rows(model, list(batch))
        failpoint("removal.records_removed")
        if ids is not None:
            ids = [row_id for row_id in ids if row_id not in batch]
    return removed


# -- for retention: whoever is locked is left for later, and what goes is counted


def hide_records(model: RegisteredModel, chosen: InferenceQuerySet) -> Batch:
    """Soft-delete one batch. Rows and answers stay, and inputs go by their own age.

    Call it in the transaction that says why.
    """
    ids = [row_id for row_id, _, _ in _locked(chosen, skip_locked=True)]
    hide(model, ids)
    _payloads(model, ids).update(deleted_at=Now())
    return Batch(ids)


def intend_records(model: RegisteredModel, chosen: InferenceQuerySet) -> Batch:
    """Commit one batch to removal for good; ``finish`` does the rest."""
    rows = _locked(chosen, skip_locked=True)
    batch = _with_inputs(model, {row_id: size for row_id, _, size in rows})
    _set_intents(model, batch.ids)
    return batch


def intend_inputs(model: RegisteredModel, chosen: InferenceQuerySet) -> Batch:
    """Commit the inputs of one batch to removal; ``finish_inputs`` does the rest.

    On the payload alone, which no search index covers: to write the wide row costs
    five times as much. Who protects takes the lock of that row all the same.
    """
    rows = _locked(chosen, skip_locked=True)
    batch = _with_inputs(model, {row_id: size for row_id, _, size in rows})
    _payloads(model, batch.ids).update(input_removal_at=Now())
    return batch


def finish_inputs(model: RegisteredModel, ids: Sequence[int] | None = None) -> None:
    """Carry out committed intents on inputs, these or all of the model."""
    intended = _payloads(model, ids).filter(input_removal_at__isnull=False)
    while rows := dict(
        intended.order_by("id").values_list("id", "data_storage_key")[
            : settings.ISTORE_REMOVAL_BATCH
        ]
    ):
        _delete_blobs(filter(None, rows.values()))
        failpoint("removal.inputs_deleted")
        _among(intended, list(rows)).update(
            data_storage_key="", input_removal_at=None, input_expired_at=Now()
        )
        failpoint("removal.inputs_cleared")


def _with_inputs(model: RegisteredModel, sizes: dict[int, int]) -> Batch:
    """The rows, with how many of them have an input that nobody removes already."""
    kept = _payloads(model, list(sizes)).filter(input_removal_at=None)
    found = kept.exclude(data_storage_key="").values_list("id", flat=True)
    inputs = [sizes[row_id] for row_id in found]
    return Batch(list(sizes), len(inputs), sum(inputs))


def _among(rows: QuerySet[Any], ids: Sequence[int]) -> QuerySet[Any]:
    """Those of the rows: the ids as one array, which costs a fifth of as many parameters.

    The bounds, between which all of them lie, say which partitions are not looked at.
    """
    ids = list(ids)
    if not ids:
        return rows.none()
    column = f'"{rows.model._meta.db_table}"."id"'
    where = f"{column} = ANY(%s) AND {column} BETWEEN %s AND %s"
    return rows.extra(where=[where], params=[ids, min(ids), max(ids)])


def _payloads(model: RegisteredModel, ids: Sequence[int] | None) -> QuerySet[Any]:
    rows = InferencePayload.objects.beside(model)
    return rows if ids is None else _among(rows, ids)


def _delete_blobs(keys: Iterable[str]) -> None:
    """The objects, and the previews that were made of them."""
    wanted = list(keys)
    previews.forget(wanted)
    blobs.delete(wanted)


def _intend(
    model: RegisteredModel, chosen: InferenceQuerySet
) -> tuple[list[int], list[str]]:
    """Lock one batch, hide it, set the intents. Call it in a transaction."""
    rows = _locked(chosen, skip_locked=False)
    ids = [row_id for row_id, _, _ in rows]
    _set_intents(model, ids)
    return ids, [name for _, name, _ in rows]


def _set_intents(model: RegisteredModel, ids: list[int]) -> None:
    hide(model, ids)
    _payloads(model, ids).update(removal_at=Now())


def _locked(chosen: InferenceQuerySet, skip_locked: bool) -> list[tuple[int, str, int]]:
    """Row id, inference id and size of the input, of one batch.

    Who protects or deletes takes the same lock.
    """
    free = chosen.order_by("id").select_for_update(
        skip_locked=skip_locked, of=("self",)
    )
    named = free.values_list("id", "inference_id", "data_size")
    return list(named[: settings.ISTORE_REMOVAL_BATCH])


def hide(model: RegisteredModel, ids: list[int]) -> None:
    """Take locked, live rows out of every index and count."""
    rows = _among(model.inferences.all(), ids)
    rows.update(deleted=True, updated_at=Now())
    count_keys(model, _payloads(model, ids).values_list("metadata", flat=True), -1)


def count_keys(model: RegisteredModel, given: Iterable[Any], sign: int) -> None:
    """Add observations of metadata, as payloads hold them, to the key counts."""
    counted: Counter[tuple[str, str]] = Counter()
    for metadata in given:
        counted.update((key, type_) for key, (type_, _) in metadata.items())
    MetadataKeyCount.objects.bulk_create(
        MetadataKeyCount(
            registered_model=model, key=key, type=type_, delta=sign * count
        )
        for (key, type_), count in sorted(counted.items())
    )


def _intended(
    model: RegisteredModel, ids: Sequence[int] | None
) -> dict[int, list[str]]:
    """A batch of intents, with the blobs of each."""
    if ids is not None:
        ids = ids[: settings.ISTORE_REMOVAL_BATCH]
    rows = _payloads(model, ids).filter(removal_at__isnull=False)
    found = rows.order_by("id").values_list(
        "id", "data_storage_key", "answer_storage_key"
    )
    return {
        row_id: blob_keys(data_key, answer_key)
        for row_id, data_key, answer_key in found[: settings.ISTORE_REMOVAL_BATCH]
    }


def blob_keys(data_storage_key: str, answer_storage_key: str) -> list[str]:
    """All blobs of an inference: the metadata blob lies beside its answer."""
    keys = [data_storage_key, answer_storage_key]
    if answer_storage_key:
        folder = posixpath.dirname(answer_storage_key)
        keys.append(f"{folder}/{blobs.METADATA}")
    return [key for key in keys if key]


@transaction.atomic
def _remove_rows(model: RegisteredModel, ids: list[int]) -> int:
    """Tombstones, then the rows; returns how many this call removed."""
    labels = {
        label
        for row in _among(model.inferences.all(), ids).values_list("labels", flat=True)
        for label in row or ()
    }
    values = {"model": model.pk, "ids": ids, "labels": list(labels)}
    values |= {"lowest": min(ids), "highest": max(ids)}
    with connection.cursor() as cursor:
        cursor.execute(REMOVE, values)
        return cursor.rowcount


def _delete(table: type[models.Model], also: str = "") -> str:
    name = table._meta.db_table
    return (
        f"DELETE FROM {name} WHERE model_key = %(model)s AND id = ANY(%(ids)s) "
        f"AND id BETWEEN %(lowest)s AND %(highest)s {also}"
    )


REMOVE = f"""
WITH gone AS (
    {_delete(Inference)} RETURNING inference_id
), tombstones AS (
    UPDATE {InferenceKey._meta.db_table} SET removed_at = now()
    WHERE model_key = %(model)s AND inference_id IN (SELECT inference_id FROM gone)
), detected AS (  -- the labels let the index of the label filter find them
    {_delete(Detection, "AND label_id = ANY(%(labels)s)")}
), embedded AS (
    {_delete(Embedding)}
), embedded_lately AS (
    {_delete(RecentEmbedding)}
), texts AS (
    {_delete(OverflowText)}
), numbers AS (
    {_delete(OverflowNumber)}
), history AS (
    DELETE FROM {MetadataChange._meta.db_table}
    WHERE model_key = %(model)s AND row_id = ANY(%(ids)s)
), truths AS (
    {_delete(GroundTruth)}
), former_truths AS (
    DELETE FROM {GroundTruthVersion._meta.db_table}
    WHERE model_key = %(model)s AND row_id = ANY(%(ids)s)
)
{_delete(InferencePayload)}
"""
