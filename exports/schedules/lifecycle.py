"""Schedules are made, changed, started and removed: with the audit row of each act."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models.functions import Now

from exports.schedules.models import ExportSchedule, ScheduledExport
from inferences.models import RegisteredModel
from inferences.store import arrival_order
from istore.api.problems import Conflict
from istore.db.clock import now
from istore.models import AuditEntry

WAITING_MOST = 10_000  # counted one by one
STARTS_AT_ONCE = 100  # of one round of the beat; the rest come with the next


def create(
    actor: object, model: RegisteredModel, *, from_beginning: bool, **values: Any
) -> ExportSchedule:
    """A schedule that begins with what arrives from now on, or with what there is."""
    position = (
        arrival_order.EARLIEST
        if from_beginning
        else arrival_order.committed_watermark(model)
    )
    try:
        with transaction.atomic():
            # Two creates at a time must not end up inside of each other's folders.
            RegisteredModel.objects.select_for_update().get(pk=model.pk)
            _check_place(model, values.get("destination", ""), values.get("prefix", ""))
            schedule = ExportSchedule.objects.create(
                model=model,
                created_by=str(actor)[:300],
                position=position,
                exported_until=None if from_beginning else now(),
                **values,
            )
            _audit(actor, "create", schedule, from_beginning=from_beginning, **values)
    except IntegrityError:
        raise _take() from None
    return schedule


def _check_place(model: RegisteredModel, destination: str, prefix: str) -> None:
    """No schedule of the model writes into, above or below another's folder."""
    others = ExportSchedule.objects.filter(model=model, destination=destination)
    mine = f"{prefix}/" if prefix else ""
    for other in others.values_list("prefix", flat=True):
        theirs = f"{other}/" if other else ""
        if mine.startswith(theirs) or theirs.startswith(mine):
            message = "Another schedule of the model writes there, above or below."
            raise Conflict(message, "export-place-taken")


@transaction.atomic
def change(actor: object, schedule: ExportSchedule, **values: Any) -> ExportSchedule:
    """Change what it says; it counts from the next run on. Raises Conflict."""
    held = ExportSchedule.objects.select_for_update().filter(pk=schedule.pk)
    if not held.exists():
        raise ExportSchedule.DoesNotExist
    try:
        with transaction.atomic():
            held.update(**values, updated_at=Now())
    except IntegrityError:
        raise _take() from None
    _audit(actor, "change", schedule, **values)
    schedule.refresh_from_db()
    return schedule


@transaction.atomic
def remove(actor: object, schedule: ExportSchedule) -> bool:
    """Nothing more is exported. The files stay: they are their readers'."""
    removed, _ = ExportSchedule.objects.filter(pk=schedule.pk).delete()
    if removed:
        _audit(actor, "delete", schedule, position=schedule.position)
    return bool(removed)


def start(actor: object, schedule: ExportSchedule) -> ScheduledExport:
    """A run from now on, on or off; a 409 ``task-already-active`` while one is on."""
    try:
        with transaction.atomic():
            _schedule(schedule, now())
            run = _open(schedule)
            _audit(actor, "run", schedule, scheduled_export_id=str(run.pk))
    except IntegrityError:
        message = "A run of this schedule is active: wait for its end."
        raise Conflict(message, "task-already-active") from None
    return run


def start_due(at: datetime) -> int:
    """Open the runs that are due; returns how many. Called by every beat.

    Two beats open one run: the one that finds the schedule as it was read wins. Who was
    away for long opens one run, not one for every window that was missed.
    """
    opened = 0
    for schedule in ExportSchedule.objects.due(at)[:STARTS_AT_ONCE]:
        try:
            with transaction.atomic():
                if _schedule(schedule, at):
                    _open(schedule)
                    opened += 1
        except IntegrityError:
            continue  # the last run goes on: what arrived comes with the next
    return opened


def _schedule(schedule: ExportSchedule, at: datetime) -> bool:
    """Compare and set. False when another was faster, or it is gone."""
    as_read = ExportSchedule.objects.filter(
        pk=schedule.pk, last_scheduled_at=schedule.last_scheduled_at
    )
    return bool(as_read.update(last_scheduled_at=at))


def _open(schedule: ExportSchedule) -> ScheduledExport:
    run = ScheduledExport.objects.create(schedule=schedule)
    run.ring()
    return run


def _audit(actor: object, act: str, schedule: ExportSchedule, **details: Any) -> None:
    AuditEntry.write(
        actor,
        f"export_schedule.{act}",
        f"{schedule.model.model_id}: {schedule.name}",
        schedule.model.project,
        export_schedule_id=str(schedule.pk),
        **details,
    )


def _take() -> Conflict:
    message = "The model has a schedule of that name, or in that place."
    return Conflict(message, "export-schedule-exists")


def lag_of(schedule: ExportSchedule, at: datetime) -> timedelta | None:
    """How long ago the moment is up to which everything is exported; None: never yet."""
    if schedule.exported_until is None:
        return None
    return max(timedelta(), at - schedule.exported_until)


def lag(schedule: ExportSchedule, at: datetime) -> float | None:
    """The same in seconds."""
    length = lag_of(schedule, at)
    return None if length is None else length.total_seconds()


def waiting(schedule: ExportSchedule) -> int:
    """How many have arrived and not been passed; one more than 10,000 means more."""
    most = WAITING_MOST + 1
    through = 2**63 - 1
    return arrival_order.count(schedule.model, schedule.position, through, most)
