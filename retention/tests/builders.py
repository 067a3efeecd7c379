"""What the tests of retention are about: inferences of an age, with inputs, and a policy."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import uuid4

from django.db.models.functions import Now

from inferences.models import InferencePayload, RegisteredModel
from istore import blobs
from retention import policies
from retention.models import RetentionPolicy, RetentionTask
from retention.sweeping import sweep


def hours_ago(hours: float) -> datetime:
    return datetime.now(UTC) - timedelta(hours=hours)


def stored(content: bytes = b"picture", kind: str = "input") -> str:
    key = f"1/1/2025/06/01/00/{uuid4()}/{kind}"
    blobs.put(key, content)
    return key


def policy_of(model: RegisteredModel, **terms) -> RetentionPolicy:
    """72 hours for records, 48 for inputs, softly and by hand, unless told otherwise."""
    given = {
        "maximum_record_age": 72,
        "maximum_blob_age": 48,
        "delete_action": "soft",
        "automated_interval": 0,
    }
    return policies.create_policy("test", model, **given | terms)


def carried_out(policy: RetentionPolicy, **how) -> RetentionTask:
    task = policies.open_task("test", policy, **how)
    assert sweep(task)
    return task


def live_ids(model: RegisteredModel) -> set[str]:
    return set(model.inferences.live().values_list("inference_id", flat=True))


def with_input(model: RegisteredModel) -> set[str]:
    kept = InferencePayload.objects.beside(model).exclude(data_storage_key="")
    rows = model.inferences.filter(id__in=kept.values("id"))
    return set(rows.values_list("inference_id", flat=True))


def stored_keys() -> set[str]:
    return {each.key for each in blobs.walk()}


STEPS = [
    "retention.claimed",
    "retention.counted",
    "retention.intending",
    "retention.intended",
    "removal.record_blobs_deleted",
    "removal.records_removed",
    "removal.inputs_deleted",
    "removal.inputs_cleared",
    "retention.removed",
    "retention.batch_counted",
    "retention.swept",
]


def lease_runs_out() -> None:
    RetentionTask.objects.update(lease_until=Now() - timedelta(seconds=1))
