"""Remove inferences: commit an intent, delete the blobs, delete the row.

The intent is committed under the lock of the inference's row before its first blob is
deleted, and the row goes last. So a protection that was confirmed always wins over
retention, after a crash the intents are the list of what is left to do, and every step may
run twice. An intent hides the inference at once and for good. Its key stays behind as a
tombstone, which keeps late copies out for ``ISTORE_TOMBSTONE_DAYS``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import ClassVar

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet

from inferences.models import (
    InferenceKey,
    InferencePayload,
    InferenceQuerySet,
    RegisteredModel,
)
from inferences.models.row_ids import LOWEST
from inferences.previews import pictures
from inferences.store import removal_sql
from istore import blobs
from istore.blobs import pack_notes, packs
from istore.db.clock import now
from istore.failpoints import failpoint
from istore.models import AuditEntry

# Returns the rows to remove. It is called in the transaction of the intent, so that it sees
# the state of that moment.
Chosen = Callable[[], InferenceQuerySet]


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows that are hidden together, or whose intents are committed together.

    ``records`` counts the records that go, ``blobs`` and ``bytes`` the inputs. ``keys`` are
    the storage keys of all objects to delete, each with the row id of its inference.
    """

    ids: list[int]
    records: int = 0
    blobs: int = 0
    bytes: int = 0
    keys: dict[str, int] = field(default_factory=dict)

    @property
    def packs(self) -> set[str]:
        """The packs that have a member among the keys."""
        return {packs.pack_of(key) for key in self.keys if packs.is_member(key)}

    def without(self, left: Iterable[str]) -> Batch:
        """Return the rows of which none of these keys is left, for ``Removal.clear``."""
        still = {self.keys[key] for key in left}
        return replace(self, ids=[each for each in self.ids if each not in still])


class Removal(ABC):
    """What is removed, and the steps of its removal, each of which may run twice.

    ``intend`` belongs in a transaction. Once that is committed ``delete`` removes the blobs, and
    ``clear`` what names them. ``finish`` does the rest of whatever was intended before.
    """

    name: ClassVar[str]

    @abstractmethod
    def intend(self, model: RegisteredModel, chosen: InferenceQuerySet) -> Batch:
        """Set the intents of one batch. Rows that are locked are skipped for now."""

    @abstractmethod
    def delete(self, batch: Batch) -> None:
        """Delete the objects of a batch, without changing a row. Raises ``BlobsLeft``."""

    @abstractmethod
    def clear(self, model: RegisteredModel, batch: Batch) -> int:
        """Clear rows with an intent whose objects are gone; return how many rows were deleted."""

    def finish(
        self,
        model: RegisteredModel,
        ids: Sequence[int] | None = None,
        between: tuple[int, int] | None = None,
    ) -> int:
        """Carry out committed intents and return how many rows were deleted.

        The intents are those of the given row ids, of a range of them, or of the whole model.
        Raises ``BlobsLeft`` at the end: rows with blobs that are left keep their intents, and so
        are tried again by whoever comes next.
        """
        removed, above = 0, LOWEST
        left: dict[str, BaseException | str] = {}
        payloads = _payloads(model, ids, between)
        while batch := self._intended(payloads.filter(id__gte=above)):
            above = batch.ids[-1] + 1
            try:
                self.delete(batch)
            except blobs.BlobsLeft as error:
                left |= error.why
                batch = batch.without(error.why)
            removed += self.clear(model, batch)
        if left:
            raise blobs.BlobsLeft(left)
        return removed

    @abstractmethod
    def _intended(self, payloads: QuerySet[InferencePayload]) -> Batch | None:
        """Return the oldest of the rows with an intent and what they name; None without any."""


class RecordRemoval(Removal):
    """The removal of records with all that belongs to them; tombstones stay."""

    name = "records"

    def intend(self, model: RegisteredModel, chosen: InferenceQuerySet) -> Batch:
        sizes = _lock_sizes(chosen)
        found = removal_sql.run(removal_sql.INTEND, model, list(sizes))
        inputs = [sizes[row_id] for row_id, _, _, has_input in found if has_input]
        keys = {key: row_id for row_id, *two, _ in found for key in blob_keys(*two)}
        return Batch(list(sizes), len(sizes), len(inputs), sum(inputs), keys)

    def delete(self, batch: Batch) -> None:
        _delete_blobs(batch.keys)
        failpoint("removal.record_blobs_deleted")

    def clear(self, model: RegisteredModel, batch: Batch) -> int:
        counted = removal_sql.run(removal_sql.remove_statement(), model, batch.ids)
        failpoint("removal.records_removed")
        return sum(number for (number,) in counted)

    def _intended(self, payloads: QuerySet[InferencePayload]) -> Batch | None:
        rows = payloads.filter(removal_at__isnull=False)
        named = rows.values_list("id", "data_storage_key", "answer_storage_key")
        found = list(named[: settings.ISTORE_REMOVAL_BATCH])
        keys = {key: row_id for row_id, *two in found for key in blob_keys(*two)}
        return Batch([row_id for row_id, *_ in found], keys=keys) if found else None


class InputRemoval(Removal):
    """The removal of inputs; their records stay.

    Only the payload is written, which no search index covers: writing the wide row costs
    five times as much. The lock is taken on the wide row all the same, as protection takes
    it there.
    """

    name = "inputs"

    def intend(self, model: RegisteredModel, chosen: InferenceQuerySet) -> Batch:
        sizes = _lock_sizes(chosen)
        found = removal_sql.run(removal_sql.INTEND_INPUTS, model, list(sizes))
        keys = {key: row_id for row_id, key in found}
        size = sum(sizes[row_id] for row_id, _ in found)
        return Batch(list(sizes), 0, len(found), size, keys)

    def delete(self, batch: Batch) -> None:
        _delete_blobs(batch.keys)
        failpoint("removal.inputs_deleted")

    def clear(self, model: RegisteredModel, batch: Batch) -> int:
        removal_sql.run(removal_sql.CLEAR_INPUTS, model, batch.ids)
        failpoint("removal.inputs_cleared")
        return 0

    def _intended(self, payloads: QuerySet[InferencePayload]) -> Batch | None:
        rows = payloads.filter(input_removal_at__isnull=False)
        named = rows.values_list("id", "data_storage_key")
        found = list(named[: settings.ISTORE_REMOVAL_BATCH])
        keys = {key: row_id for row_id, key in found if key}
        return Batch([row_id for row_id, _ in found], keys=keys) if found else None


RECORDS, INPUTS = RecordRemoval(), InputRemoval()
KINDS: dict[str, Removal] = {kind.name: kind for kind in (RECORDS, INPUTS)}


@dataclass(frozen=True, slots=True)
class RemovedInference:
    """An inference that was removed. It is hidden, and nothing brings it back.

    ``bytes_gone_by`` is None where its bytes are gone as well. On an object store those of a
    member of a pack go with the next rewrite of the pack, by then.
    """

    bytes_gone_by: datetime | None


def remove_one(
    actor: object, model: RegisteredModel, inference_id: str
) -> RemovedInference | None:
    """Remove an inference with everything that belongs to it. Returns None if there is none."""
    keys = InferenceKey.objects.filter(registered_model=model, removed_at=None)
    ids_of_key = keys.filter(inference_id=inference_id).values_list("row_id", flat=True)
    row_ids = [row_id for row_id in ids_of_key if row_id is not None]
    with transaction.atomic():
        chosen = model.inferences.live_among(row_ids)
        ids, _, storage_keys = _intend(model, chosen)
        gone_by = _bytes_gone_by(storage_keys)
        if ids:
            details = _audit_details(gone_by)
            AuditEntry.write(
                actor, "inference.delete", inference_id, model.project, **details
            )
    failpoint("removal.records_intended")
    if not ids:
        return None
    RECORDS.finish(model, ids)
    return RemovedInference(gone_by)


def intend_all(
    actor: object, model: RegisteredModel, chosen: Chosen
) -> Iterator[list[str]]:
    """Commit the intents of all chosen rows; yield the inference ids of each batch.

    When the iterator ends, every intent is committed. ``RECORDS.finish`` does the rest, now or
    after a crash. It covers the rows that existed when it began, and not those that arrive
    meanwhile.
    """
    newest = chosen().order_by("-id").values_list("id", flat=True).first()
    above: int | None = None
    while newest is not None:
        with transaction.atomic():
            batch = chosen().filter(id__lte=newest)
            # Without this bound each batch would scan the non-matching rows again.
            if above is not None:
                batch = batch.filter(id__gt=above)
            ids, names, keys = _intend(model, batch)
            if not ids:
                return
            above = ids[-1]
            AuditEntry.write(
                actor,
                "inference.bulk_delete",
                model.model_id,
                model.project,
                count=len(ids),
                **_audit_details(_bytes_gone_by(keys)),
            )
        failpoint("removal.records_intended")
        yield names


def _bytes_gone_by(keys: Iterable[str]) -> datetime | None:
    """Return until when the blobs of these keys are gone; None where they go with the removal."""
    if not pack_notes.are_kept() or not any(map(packs.is_member, keys)):
        return None
    return now() + timedelta(minutes=settings.ISTORE_PACK_COMPACT_MINUTES)


def _audit_details(bytes_gone_by: datetime | None) -> dict[str, str]:
    """Return the details of an audit entry that tell until when the bytes are gone."""
    return {"bytes_gone_by": bytes_gone_by.isoformat()} if bytes_gone_by else {}


def hide_records(
    model: RegisteredModel, chosen: InferenceQuerySet, skip_locked: bool = True
) -> Batch:
    """Soft-delete one batch. Rows and answers stay, and inputs expire by their own age.

    Call it in the transaction that records the reason. Without ``skip_locked`` it waits for
    rows that somebody else holds, so that none of the chosen is left out.
    """
    ids = [row_id for row_id, _, _ in _lock(chosen, skip_locked)]
    removal_sql.run(removal_sql.HIDE_SOFTLY, model, ids)
    return Batch(ids)


def _among(
    rows: QuerySet[InferencePayload], ids: Sequence[int]
) -> QuerySet[InferencePayload]:
    """Return those of the rows that have these ids, with the ids as one array parameter.

    An array costs a fifth of as many single parameters. The bounds (the lowest and highest
    id) let the planner skip partitions.
    """
    ids = list(ids)
    if not ids:
        return rows.none()
    column = f'"{rows.model._meta.db_table}"."id"'
    where = f"{column} = ANY(%s) AND {column} BETWEEN %s AND %s"
    return rows.extra(where=[where], params=[ids, min(ids), max(ids)])


def _payloads(
    model: RegisteredModel,
    ids: Sequence[int] | None,
    between: tuple[int, int] | None,
) -> QuerySet[InferencePayload]:
    """Return the payloads, oldest first. Callers read one batch of them."""
    rows = InferencePayload.objects.beside(model).order_by("id")
    if between is not None:
        rows = rows.filter(id__range=between)
    return rows if ids is None else _among(rows, ids)


def _delete_blobs(keys: Iterable[str]) -> None:
    """Delete the objects and the previews that were made of them."""
    wanted = list(keys)
    blobs.delete(wanted)
    pictures.forget(wanted)


def _intend(
    model: RegisteredModel, chosen: InferenceQuerySet
) -> tuple[list[int], list[str], list[str]]:
    """Lock one batch, hide it and set the intents; return row ids, inference ids and keys.

    Call it in a transaction.
    """
    rows = _lock(chosen, skip_locked=False)
    ids = [row_id for row_id, _, _ in rows]
    found = removal_sql.run(removal_sql.INTEND, model, ids)
    keys = [key for _, *two, _ in found for key in two if key]
    return ids, [name for _, name, _ in rows], keys


def _lock(chosen: InferenceQuerySet, skip_locked: bool) -> list[tuple[int, str, int]]:
    """Lock one batch; return row id, inference id and input size in bytes of each row.

    Protection and deletion take the same lock.
    """
    free = chosen.order_by("id").select_for_update(
        skip_locked=skip_locked, of=("self",)
    )
    named = free.values_list("id", "inference_id", "data_size")
    return list(named[: settings.ISTORE_REMOVAL_BATCH])


def _lock_sizes(chosen: InferenceQuerySet) -> dict[int, int]:
    """Lock one batch of the rows that are free; return the input size of each row id."""
    return {row_id: size for row_id, _, size in _lock(chosen, skip_locked=True)}


def hide(model: RegisteredModel, ids: list[int]) -> None:
    """Hide locked, live rows: they leave every search index and every count."""
    removal_sql.run(removal_sql.HIDE, model, ids)


def count_keys(model: RegisteredModel, ids: list[int]) -> None:
    """Count the metadata of rows that are live again."""
    removal_sql.run(removal_sql.COUNT, model, ids)


def blob_keys(data_storage_key: str, answer_storage_key: str) -> list[str]:
    """Return the keys whose deletion takes all blobs of an inference.

    The record of a pack goes whole with the key of its answer. Of objects in a folder the
    marker is named, too, and last.
    """
    keys = [data_storage_key] if data_storage_key else []
    if answer_storage_key:
        keys.append(answer_storage_key)
        if not packs.is_member(answer_storage_key):
            folder, slash, _ = answer_storage_key.rpartition("/")
            keys.append(f"{folder}{slash}{blobs.METADATA}")
    return keys


def marker_key(answer_storage_key: str) -> str | None:
    """Return the key of the marker beside an answer; None if its record was released.

    In a pack this costs a read of the marker's length, which stands before the answer.
    """
    if packs.is_member(answer_storage_key):
        return packs.marker_key_of(answer_storage_key)
    folder, slash, _ = answer_storage_key.rpartition("/")
    return f"{folder}{slash}{blobs.METADATA}"
