"""Soft deletion by hand: hide inferences, find them, restore them, or remove them for good.

A soft-deleted record is hidden (``deleted``), and its payload has the time
(``deleted_at``). While its row exists and no intent is set, an administrator may restore
it. All side rows are still in place, so restoring is the opposite of ``removal.hide``.
Permanent removal takes the usual steps: intent, blobs, row. Both lock the rows first and
read the payload then, so one of the two wins.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Protocol, Self

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, OuterRef, Q
from django.db.models.functions import Now

from inferences.models import (
    Inference,
    InferencePayload,
    InferenceQuerySet,
    RegisteredModel,
    SideRowQuerySet,
)
from inferences.store import removal, segment_touches
from inferences.store.lookup import row_ids_of
from inferences.store.reading import join_payloads
from inferences.store.recording import lower_bounds
from inferences.store.removal import Chosen, count_keys
from istore.blobs.storage_failures import logging_failures
from istore.failpoints import failpoint
from istore.models import AuditEntry

BEAT = "the beat"  # the actor in the audit log when old rows are removed


class HasCondition(Protocol):
    """The part of a filter that is needed here: filters belong to a room above this one."""

    def condition(self, model: RegisteredModel) -> Q: ...


@dataclass(frozen=True, slots=True)
class DeletedPage:
    """A page of soft-deleted inferences, newest first.

    ``next`` is the id below which the next page begins, or None.
    """

    inferences: list[Inference]
    next: int | None


@dataclass(frozen=True, slots=True)
class Done:
    """How many were restored or removed, and whether the same call would find more."""

    count: int = 0
    more: bool = False


@dataclass(frozen=True, slots=True)
class HiddenBatch:
    """Rows that were hidden together ``at`` one moment, with ids from ``first`` to ``last``.

    No other row has all three, so whoever hid them can name them without a list of ids.
    """

    at: datetime
    first: int
    last: int
    count: int = 0

    @classmethod
    def read(cls, at: str, first: int, last: int) -> Self:
        """Return the batch of a moment in ISO 8601 and two row ids."""
        return cls(datetime.fromisoformat(at), first, last)


def hide_all(
    actor: object, model: RegisteredModel, chosen: Chosen
) -> list[HiddenBatch]:
    """Soft-delete all chosen rows that exist now, batch by batch, and return the batches."""
    newest = chosen().order_by("-id").values_list("id", flat=True).first()
    batches: list[HiddenBatch] = []
    while newest is not None:
        rows = chosen().filter(id__lte=newest)
        if (
            batches
        ):  # without this bound each batch would scan the rows of the former ones
            rows = rows.filter(id__gt=batches[-1].last)
        with transaction.atomic():
            ids = removal.hide_records(model, rows, skip_locked=False).ids
            if not ids:
                if rows.exists():
                    continue  # all of the batch went while this waited for locks
                break
            payloads = InferencePayload.objects.beside(model).filter(id=ids[0])
            at = payloads.values_list("deleted_at", flat=True).get()
            assert at is not None  # set by the statement that hid the row
            _audit(actor, "inference.soft_delete", model, len(ids))
        batches.append(HiddenBatch(at, ids[0], ids[-1], len(ids)))
    return batches


def find_hidden(
    model: RegisteredModel, batches: list[HiddenBatch]
) -> InferenceQuerySet:
    """Return the rows of these batches that are still soft-deleted since then."""
    anyone = Q(pk__in=())
    for batch in batches:
        payloads = _waiting(OuterRef("registered_model")).filter(
            id=OuterRef("id"), deleted_at=batch.at
        )
        anyone |= Q(id__range=(batch.first, batch.last)) & Q(Exists(payloads))
    return model.inferences.filter(anyone, deleted=True)


def _waiting(model: RegisteredModel | OuterRef) -> SideRowQuerySet[InferencePayload]:
    """Return the payloads of inferences that may be restored."""
    rows = InferencePayload.objects.beside(model)
    return rows.filter(deleted_at__isnull=False, removal_at__isnull=True)


def soft_deleted(
    model: RegisteredModel, filters: HasCondition | None = None
) -> InferenceQuerySet:
    """Return the soft-deleted inferences that may be restored and pass the filter.

    The index inference_deleted serves it, in the order of ids.
    """
    payloads = _waiting(OuterRef("registered_model")).filter(id=OuterRef("id"))
    hidden = model.inferences.filter(Exists(payloads), deleted=True)
    return hidden.filter(filters.condition(model)) if filters else hidden


def find_soft_deleted(
    model: RegisteredModel, inference_ids: list[str]
) -> InferenceQuerySet:
    """Return the soft-deleted inferences that have one of these ids."""
    row_ids = row_ids_of(model, inference_ids).values()
    return soft_deleted(model).filter(id__in=list(row_ids))


def page(
    model: RegisteredModel, filters: HasCondition | None, limit: int, below: int | None
) -> DeletedPage:
    """Return one page of soft-deleted inferences, each with its ``payload``."""
    rows = soft_deleted(model, filters).newest_first()
    if below is not None:
        rows = rows.filter(id__lt=below)
    found = list(rows[: limit + 1])
    here = found[:limit]
    more = here[-1].id if len(found) > limit else None
    return DeletedPage(join_payloads(model, here), more)


def restore(actor: object, model: RegisteredModel, chosen: Chosen) -> Done:
    """Restore all chosen inferences, batch by batch. They are visible when their batch commits.

    An input that has expired meanwhile stays gone, and the record says so.
    """

    def bring_back(ids: list[int]) -> None:
        # Before the rows are visible: pages and sweeps start at these watermarks.
        lower_bounds(model, min(ids))
        model.inferences.filter(id__in=ids).update(deleted=False, updated_at=Now())
        segment_touches.touch(model, ids, keep_bounds=True)
        payloads = InferencePayload.objects.beside(model).filter(id__in=ids)
        payloads.update(deleted_at=None)
        count_keys(model, ids)
        _audit(actor, "inference.restore", model, len(ids))
        failpoint("restoring.restored")

    return _batch_by_batch(model, chosen, bring_back)


def intend_removal(actor: object, model: RegisteredModel, chosen: Chosen) -> Done:
    """Set the intent on all chosen inferences, after which nobody can restore them.

    ``removal.RECORDS.finish`` does the rest, now or after a crash.
    """

    def intend(ids: list[int]) -> None:
        payloads = InferencePayload.objects.beside(model).filter(id__in=ids)
        payloads.update(removal_at=Now())
        _audit(actor, "inference.remove_deleted", model, len(ids))

    done = _batch_by_batch(model, chosen, intend)
    failpoint("restoring.intended")
    return done


def remove_old(at: datetime) -> int:
    """Remove for good what was soft-deleted ``ISTORE_SOFT_DELETE_DAYS`` ago; return how many.

    Protected inferences stay, although retention never hides them: nobody decided to remove
    them for good. With a setting of 0 everything stays until somebody removes it.
    """
    if not settings.ISTORE_SOFT_DELETE_DAYS:
        return 0
    limit = at - timedelta(days=settings.ISTORE_SOFT_DELETE_DAYS)
    removed = 0
    for model in RegisteredModel.objects.order_by("pk"):
        old = _waiting(model).filter(deleted_at__lt=limit)
        while True:
            done = intend_removal(BEAT, model, partial(_among, model, old))
            with logging_failures(f"Removals of {model}"):
                removal.RECORDS.finish(model)
            removed += done.count
            if not done.more:
                break
    return removed


def _among(
    model: RegisteredModel, payloads: SideRowQuerySet[InferencePayload]
) -> InferenceQuerySet:
    mine = payloads.filter(id=OuterRef("id"))
    return model.inferences.filter(Exists(mine), deleted=True).unprotected()


def _batch_by_batch(
    model: RegisteredModel, chosen: Chosen, act: Callable[[list[int]], None]
) -> Done:
    """Lock the chosen rows batch by batch, and act on those that may still be restored.

    It stops after ``ISTORE_BULK_DELETE_MAX`` rows.
    """
    count, after = 0, None
    while count < settings.ISTORE_BULK_DELETE_MAX:
        rows = chosen().oldest_first()
        if after is not None:
            rows = rows.filter(id__gt=after)
        with transaction.atomic():
            locked = rows.select_for_update(of=("self",)).values_list("id", flat=True)
            ids = list(locked[: settings.ISTORE_REMOVAL_BATCH])
            if not ids:
                if rows.exists():
                    continue  # all of the batch went while this waited for locks
                return Done(count)
            # The locks are held now, so the payload shows whether another call came first.
            free = list(_waiting(model).filter(id__in=ids).values_list("id", flat=True))
            if free:
                act(free)
        count, after = count + len(free), ids[-1]
    return Done(count, more=True)


def _audit(actor: object, action: str, model: RegisteredModel, count: int) -> None:
    AuditEntry.write(actor, action, model.model_id, model.project, count=count)
