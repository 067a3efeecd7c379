"""Write, read and remove the ground truth of one inference, and list its history."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection, transaction

from inferences.ground_truth import writes
from inferences.ground_truth.pending_truths import wait
from inferences.ground_truth.references import INFERENCE, Reference
from inferences.ground_truth.writes import Given
from inferences.models import InferenceKey, RegisteredModel
from inferences.models.ground_truth import (
    GroundTruth,
    GroundTruthVersion,
    PendingTruth,
)
from inferences.store.reading import find_inference
from istore.db import clock
from istore.errors import Conflict
from istore.models import AuditEntry


@dataclass(frozen=True, slots=True)
class Version:
    """A value of ground truth in time; ``replaced_by`` and ``until`` are empty while it stands."""

    truth: dict[str, Any]
    actor: str
    set_at: datetime
    replaced_by: str = ""
    until: datetime | None = None
    is_removal: bool = False


def put_truth(
    actor: object, model: RegisteredModel, inference_id: str, truth: dict[str, Any]
) -> GroundTruth | None:
    """Set the ground truth of an inference; return None if it is pending until that arrives.

    Raises ``Conflict`` if the inference was removed or is soft-deleted.
    """
    given = Given(truth, str(actor), clock.now())
    key = _key(model, inference_id)
    if key is None:
        with transaction.atomic():
            waits = wait(model, Reference(INFERENCE, inference_id), given)
            if waits:
                _say(actor, "put", model, inference_id)
        if waits:
            return None
        key = _key(model, inference_id)
    if key is None or key.row_id is None or key.removed_at is not None:
        raise _removed_conflict()
    with transaction.atomic():
        writes.write(model, {key.row_id: given})
        found = find_truth(model, inference_id)
        if found is None:  # soft-deleted, or removed at this moment
            raise _removed_conflict()
        _say(actor, "put", model, inference_id)
    return found


def _key(model: RegisteredModel, inference_id: str) -> InferenceKey | None:
    keys = InferenceKey.objects.filter(registered_model=model, row_id__isnull=False)
    return keys.filter(inference_id=inference_id).first()


def _say(actor: object, what: str, model: RegisteredModel, inference_id: str) -> None:
    AuditEntry.write(actor, f"ground_truth.{what}", inference_id, model.project)


def _removed_conflict() -> Conflict:
    """Return the error for an inference that was removed."""
    return Conflict("inference-deleted", "The inference was removed.")


def find_truth(model: RegisteredModel, inference_id: str) -> GroundTruth | None:
    """Return the ground truth of an inference, or None if there is none."""
    inference = find_inference(model, inference_id)
    if inference is None:
        return None
    return GroundTruth.objects.beside(model).filter(id=inference.id).first()


@transaction.atomic
def remove_truth(actor: object, model: RegisteredModel, inference_id: str) -> bool:
    """Remove the ground truth, joined or pending. Return False if there is none."""
    awaited = str(Reference(INFERENCE, inference_id))
    waiting = PendingTruth.objects.filter(registered_model=model, awaited=awaited)
    gone = bool(waiting.delete()[0])
    key = _key(model, inference_id)
    if key is not None and key.row_id is not None:
        gone = writes.remove(actor, model, key.row_id) or gone
    if gone:
        _say(actor, "delete", model, inference_id)
    return gone


def history(model: RegisteredModel, row_id: int) -> list[Version]:
    """Return every value that the inference had, oldest first, the present one last."""
    # Served by the primary key.
    former = GroundTruthVersion.objects.filter(registered_model=model, row_id=row_id)
    found = [
        Version(
            each.truth,
            each.actor,
            each.set_at,
            each.replaced_by,
            each.replaced_at,
            each.is_removal,
        )
        for each in former.order_by("id")
    ]
    present = GroundTruth.objects.beside(model).filter(id=row_id).first()
    if present:
        found.append(Version(present.truth, present.actor, present.set_at))
    return found


def counts(model: RegisteredModel) -> dict[str, int]:
    """Count live inferences with ground truth, those that agree and differ, and pending values."""
    with connection.cursor() as cursor:
        cursor.execute(COUNTS, {"model": model.pk})
        given, agreeing, differing, waiting = cursor.fetchone()
    return {
        "given": given,
        "agrees": agreeing,
        "differs": differing,
        "waiting": waiting,
    }


COUNTS = f"""
SELECT count(*), count(*) FILTER (WHERE agrees), count(*) FILTER (WHERE NOT agrees),
       (SELECT count(*) FROM {PendingTruth._meta.db_table} WHERE model_key = %(model)s)
FROM {GroundTruth._meta.db_table} AS truth
WHERE model_key = %(model)s AND EXISTS (
    SELECT FROM inferences_inference AS row
    WHERE row.model_key = %(model)s AND row.id = truth.id AND NOT row.deleted)
"""
