"""Protection: inferences that retention must not remove, with who protected them and why.

Protecting locks the row that a removal locks before it commits its intent. So a protection
that was confirmed wins over every later retention, and one that comes after an intent is
refused with a conflict, instead of a promise that cannot be kept.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Exists, OuterRef, Q
from django.db.models.functions import Now

from inferences.models import (
    InferenceKey,
    InferencePayload,
    InferenceQuerySet,
    RegisteredModel,
)
from inferences.store.recording import lower_bounds
from inferences.store.removal import Chosen
from istore.db import clock
from istore.errors import Conflict
from istore.failpoints import failpoint
from istore.models import AuditEntry

REASON_MAX_CHARS = 500
INTENDED = Q(removal_at__isnull=False) | Q(input_removal_at__isnull=False)


@dataclass(frozen=True, slots=True)
class Protection:
    """The requested state: protected or not, and why."""

    is_protected: bool = True
    reason: str = ""

    @property
    def action(self) -> str:
        return "protect" if self.is_protected else "unprotect"


@dataclass(frozen=True, slots=True)
class Changed:
    """The result of a bulk change.

    ``count`` rows changed, ``being_removed`` came too late, and ``more`` says that another
    call finds more. ``input_expired`` counts newly protected rows whose input was already
    gone: the protection keeps only the record.
    """

    count: int = 0
    being_removed: int = 0
    input_expired: int = 0
    more: bool = False


@dataclass(frozen=True, slots=True)
class Protected:
    """An inference with the requested protection, and when its input expired, if it did."""

    input_expired_at: datetime | None = None


def protect_one(
    actor: object, model: RegisteredModel, inference_id: str, wanted: Protection
) -> Protected | None:
    """Protect an inference, or end its protection. Returns None if there is none.

    Raises ``Conflict`` ``being-removed`` when the intent to remove it, or its input, is already
    committed.
    """
    keys = InferenceKey.objects.filter(registered_model=model, removed_at=None)
    ids = keys.filter(inference_id=inference_id).values_list("row_id", flat=True)
    row_ids = [row_id for row_id in ids if row_id is not None]
    with transaction.atomic():
        # Not only live rows: one that an intent has hidden gets a 409 instead of a 404.
        row = (
            model.inferences.filter(id__in=row_ids)
            .select_for_update(of=("self",))
            # With the model: Django would read a column that is left out by the id alone.
            .only("registered_model", "is_protected", "deleted")
            .first()
        )
        if row is None:
            return None
        payload = InferencePayload.objects.beside(model).filter(id=row.id)
        *intents, expired_at = payload.values_list(
            "removal_at", "input_removal_at", "input_expired_at"
        ).get()
        if wanted.is_protected and any(intents):
            message = "It is being removed; the protection comes too late."
            raise Conflict("being-removed", message)
        if row.deleted:
            return None
        if row.is_protected != wanted.is_protected:
            _write(actor, model, [row.id], wanted)
            AuditEntry.write(
                actor,
                f"inference.{wanted.action}",
                inference_id,
                model.project,
                model_id=model.model_id,
                reason=wanted.reason,
            )
        failpoint("protection.written")
    return Protected(expired_at)


def protect_all(
    actor: object, model: RegisteredModel, chosen: Chosen, wanted: Protection
) -> Changed:
    """Protect all chosen inferences, or end their protection, batch by batch.

    A call changes at most ``ISTORE_BULK_DELETE_MAX``. When ``more`` is true, the same call
    again continues. Rows that are already being removed are left alone and counted.
    """

    def waiting() -> InferenceQuerySet:
        return chosen().filter(is_protected=not wanted.is_protected)

    # The newest row of now bounds the loop, so that it ends although rows keep arriving.
    newest = waiting().order_by("-id").values_list("id", flat=True).first()
    count = being_removed = expired = 0
    after: int | None = None
    while newest is not None:
        if count >= settings.ISTORE_BULK_DELETE_MAX:
            return Changed(count, being_removed, expired, more=True)
        rows = waiting().filter(id__lte=newest).order_by("id")
        if after is not None:
            rows = rows.filter(id__gt=after)
        with transaction.atomic():
            locked = rows.select_for_update(of=("self",))
            ids = list(
                locked.values_list("id", flat=True)[: settings.ISTORE_REMOVAL_BATCH]
            )
            if not ids:
                # All rows of the batch may have gone while this waited for their locks.
                if rows.exists():
                    continue
                break
            late = _ids_with_intent(model, ids) if wanted.is_protected else set()
            gone = (
                _ids_without_input(model, ids) - late if wanted.is_protected else set()
            )
            free = [row_id for row_id in ids if row_id not in late]
            _write(actor, model, free, wanted)
            if free:
                AuditEntry.write(
                    actor,
                    f"inference.bulk_{wanted.action}",
                    model.model_id,
                    model.project,
                    count=len(free),
                    reason=wanted.reason,
                )
        failpoint("protection.batch_written")
        count, being_removed = count + len(free), being_removed + len(late)
        expired, after = expired + len(gone), ids[-1]
    return Changed(count, being_removed, expired)


def with_expired_input(chosen: InferenceQuerySet) -> InferenceQuerySet:
    """Return those of the chosen inferences whose input was removed by retention."""
    payloads = InferencePayload.objects.beside(OuterRef("registered_model"))
    gone = payloads.filter(id=OuterRef("id"), input_expired_at__isnull=False)
    return chosen.filter(Exists(gone))


def _ids_with_intent(model: RegisteredModel, ids: list[int]) -> set[int]:
    """Return the ids of rows that have an intent."""
    rows = InferencePayload.objects.beside(model).filter(INTENDED, id__in=ids)
    return set(rows.values_list("id", flat=True))


def _ids_without_input(model: RegisteredModel, ids: list[int]) -> set[int]:
    """Return the ids of rows whose input has expired."""
    rows = InferencePayload.objects.beside(model).filter(id__in=ids)
    gone = rows.filter(input_expired_at__isnull=False)
    return set(gone.values_list("id", flat=True))


def _write(
    actor: object, model: RegisteredModel, ids: list[int], wanted: Protection
) -> None:
    """Write the flag, and who set it into the notes. The rows must be locked."""
    if not ids:
        return
    model.inferences.filter(id__in=ids).update(
        is_protected=wanted.is_protected, updated_at=Now()
    )
    payloads = InferencePayload._meta.db_table
    if wanted.is_protected:
        change, given = "coalesce(notes, '{}') || %s::jsonb", _note(actor, wanted)
    else:
        change, given = "nullif(notes - %s::text, '{}')", "protection"
        # Sweeps may have skipped these rows while they were protected.
        lower_bounds(model, min(ids))
    with connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE {payloads} SET notes = {change} "
            "WHERE model_key = %s AND id = ANY(%s)",
            [given, model.pk, ids],
        )


def _note(actor: object, wanted: Protection) -> str:
    said = {"by": str(actor)[:300], "at": clock.now().isoformat()}
    if wanted.reason:
        said["reason"] = wanted.reason
    return json.dumps({"protection": said})
