"""Create, change and delete policies, and start and stop their tasks. Each act is audited."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models.functions import Now

from inferences.models import RegisteredModel
from istore.db import clock
from istore.errors import Conflict
from istore.models import AuditEntry
from istore.tasks import control
from retention.models import KEEP, RetentionPolicy, RetentionTask, Terms

TERMS = [field.name for field in Terms._meta.fields]
GIVEN = [*TERMS, "automated_interval"]
SCHEDULE = "the schedule"


def contradiction(maximum_record_age: int, maximum_blob_age: int) -> str | None:
    """Return why the two ages contradict each other, or None."""
    if maximum_record_age != KEEP and maximum_blob_age > maximum_record_age:
        return "Inputs cannot be kept longer than their records."
    return None


def create_policy(
    actor: object, model: RegisteredModel, **values: Any
) -> RetentionPolicy:
    """Create and return the model's policy. Raises ``Conflict`` ``policy-exists``."""
    try:
        with transaction.atomic():
            policy = RetentionPolicy.objects.create(model=model, **values)
            _audit(actor, "create", policy, **values)
    except IntegrityError:
        if not RetentionPolicy.objects.filter(model=model).exists():
            raise
        message = "The model has a retention policy already."
        raise Conflict("policy-exists", message) from None
    return policy


@transaction.atomic
def change_policy(
    actor: object, policy: RetentionPolicy, **values: Any
) -> RetentionPolicy | None:
    """Change the policy, for past and future data; return it, or None if it was deleted.

    The row lock waits for the batch that a task is about to commit, so everything removed after the
    response is removed by the new policy.
    """
    held = RetentionPolicy.objects.select_for_update().filter(pk=policy.pk)
    if not held.exists():
        return None
    held.update(**values, updated_at=Now())
    _audit(actor, "change", policy, **values)
    policy.refresh_from_db()
    return policy


@transaction.atomic
def delete_policy(actor: object, policy: RetentionPolicy) -> bool:
    """Delete the policy, and return whether it existed. A running task of it ends as stopped."""
    removed, _ = RetentionPolicy.objects.filter(pk=policy.pk).delete()
    if removed:
        values = {name: getattr(policy, name) for name in GIVEN}
        _audit(actor, "delete", policy, **values)
    return bool(removed)


def open_task(
    actor: object, policy: RetentionPolicy, *, dry_run: bool = False
) -> RetentionTask:
    """Start a task of the policy, and return it. Raises ``Conflict`` ``task-already-active``."""
    at = clock.now()
    try:
        with transaction.atomic():
            if not dry_run:
                _schedule(policy, at)
            task = _open(actor, policy, at, dry_run=dry_run)
            task.audit(actor, "create", dry_run=dry_run)
    except IntegrityError:
        raise already_active() from None
    return task


def already_active() -> Conflict:
    """Return the ``Conflict`` ``task-already-active``."""
    message = "A task of this policy is active: wait for its end, or stop it."
    return Conflict("task-already-active", message)


def start_due(at: datetime) -> list[RetentionTask]:
    """Open a task for every automated policy whose interval has passed, and return the tasks.

    ``last_scheduled_at`` moves by compare-and-set in the transaction of the insert, so two beats
    make one task. It moves to ``at``, so a missed window runs once. While a task of the policy is
    active, the policy waits for the next round.
    """
    opened = []
    for policy in RetentionPolicy.objects.due(at).select_related("model__project"):
        if policy.tasks.active().exists():
            continue
        try:
            with transaction.atomic():
                if _schedule(policy, at):
                    opened.append(_open(SCHEDULE, policy, at, by_schedule=True))
        except IntegrityError:
            continue  # a task was opened by hand at the same time
    return opened


def _schedule(policy: RetentionPolicy, at: datetime) -> bool:
    """Move ``last_scheduled_at`` on. Return False if another scheduler was first."""
    same = RetentionPolicy.objects.filter(
        pk=policy.pk, last_scheduled_at=policy.last_scheduled_at
    )
    return same.update(last_scheduled_at=at) == 1


def _open(
    actor: object, policy: RetentionPolicy, at: datetime, **values: Any
) -> RetentionTask:
    limits = policy.limits(at)
    task = RetentionTask.objects.create(
        model=policy.model,
        policy=policy,
        requested_by=str(actor)[:300],
        maximum_record_age_limit=limits.records,
        maximum_blob_age_limit=limits.inputs,
        **{name: getattr(policy, name) for name in TERMS},
        **values,
    )
    task.notify()
    return task


def resume_task(actor: object, task: RetentionTask) -> bool:
    """Resume a stopped or failed task with the limits it had. Return False if it is neither.

    Raises ``Conflict`` ``task-already-active`` while another task of the policy is active.
    """
    try:
        return control.resume(actor, task)
    except IntegrityError:
        raise already_active() from None


def _audit(actor: object, act: str, policy: RetentionPolicy, **values: Any) -> None:
    model = policy.model
    AuditEntry.write(
        actor, f"retention_policy.{act}", model.model_id, model.project, **values
    )
