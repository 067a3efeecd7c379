"""Create, change, start and delete schedules. Each act is audited."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models.functions import Now

from exports.lake import dropping
from exports.lake.models import LakeTable, make_table
from exports.schedules.models import ExportFormat, ExportSchedule, ScheduledExport
from inferences.models import RegisteredModel
from inferences.store import arrival_order
from istore.db.clock import now
from istore.errors import Conflict
from istore.models import AuditEntry

WAITING_MOST = 10_000  # arrivals, which are counted row by row
STARTS_AT_ONCE = 100  # runs opened in one round of beat; the next opens the rest


class TableFate(StrEnum):
    """What becomes of the table of the lake when its schedule is deleted."""

    KEEP = "keep"
    DROP = "drop"


def create(
    actor: object, model: RegisteredModel, *, from_beginning: bool, **values: Any
) -> ExportSchedule:
    """Create a schedule that begins with new arrivals, or with all records. Raises ``Conflict``."""
    position = (
        arrival_order.EARLIEST
        if from_beginning
        else arrival_order.committed_watermark(model)
    )
    try:
        with transaction.atomic():
            # The row lock keeps two creates at once from choosing folders inside each other.
            RegisteredModel.objects.select_for_update().get(pk=model.pk)
            is_lake = values.get("format") == ExportFormat.ICEBERG
            if not is_lake:
                _check_place(
                    model, values.get("destination", ""), values.get("prefix", "")
                )
            schedule = ExportSchedule.objects.create(
                model=model,
                created_by=str(actor)[:300],
                position=position,
                exported_until=None if from_beginning else now(),
                **values,
            )
            if is_lake:
                make_table(schedule)
            _audit(actor, "create", schedule, from_beginning=from_beginning, **values)
    except IntegrityError:
        raise _name_conflict() from None
    return schedule


def _check_place(model: RegisteredModel, destination: str, prefix: str) -> None:
    """Raise ``Conflict`` if the folder is in, above or below that of another schedule."""
    others = ExportSchedule.objects.filter(
        model=model, destination=destination, format=ExportFormat.PARQUET
    )
    mine = f"{prefix}/" if prefix else ""
    for other in others.values_list("prefix", flat=True):
        theirs = f"{other}/" if other else ""
        if mine.startswith(theirs) or theirs.startswith(mine):
            message = "Another schedule of the model writes there, above or below."
            raise Conflict("export-place-taken", message)


@transaction.atomic
def change(actor: object, schedule: ExportSchedule, **values: Any) -> ExportSchedule:
    """Change the schedule from its next run on. Raises ``Conflict`` or ``DoesNotExist``."""
    held = ExportSchedule.objects.select_for_update().filter(pk=schedule.pk)
    if not held.exists():
        raise ExportSchedule.DoesNotExist
    try:
        with transaction.atomic():
            held.update(**values, updated_at=Now())
            if {"selection", "keeps_removed"} & values.keys():
                # What it left out, or let go, before does not come back.
                LakeTable.objects.filter(schedule=schedule).update(is_whole=False)
    except IntegrityError:
        raise _name_conflict() from None
    _audit(actor, "change", schedule, **values)
    schedule.refresh_from_db()
    return schedule


@transaction.atomic
def remove(
    actor: object, schedule: ExportSchedule, table: TableFate = TableFate.KEEP
) -> bool:
    """Delete the schedule, and return whether it existed. Its files stay.

    A table of the lake stays as well, or goes with its files.
    """
    row = LakeTable.objects.filter(schedule=schedule).first()
    removed, _ = ExportSchedule.objects.filter(pk=schedule.pk).delete()
    if removed:
        details = {"table": str(row), "table_is": table.value} if row else {}
        _audit(actor, "delete", schedule, position=schedule.position, **details)
        if row and table is TableFate.DROP:
            dropping.mark(row)
    return bool(removed)


def start(actor: object, schedule: ExportSchedule) -> ScheduledExport:
    """Start a run, even if the schedule is off. Raises ``Conflict`` ``task-already-active``."""
    try:
        with transaction.atomic():
            _schedule(schedule, now())
            run = _open(schedule)
            _audit(actor, "run", schedule, scheduled_export_id=str(run.pk))
    except IntegrityError:
        message = "A run of this schedule is active: wait for its end."
        raise Conflict("task-already-active", message) from None
    return run


def start_due(at: datetime) -> int:
    """Open the runs that are due, and return how many. Beat calls it.

    Two beats open one run: ``last_scheduled_at`` moves by compare-and-set. After an outage one run
    is opened, not one for every missed interval.
    """
    opened = 0
    for schedule in ExportSchedule.objects.due(at)[:STARTS_AT_ONCE]:
        try:
            with transaction.atomic():
                if _schedule(schedule, at):
                    _open(schedule)
                    opened += 1
        except IntegrityError:
            continue  # a run is active: the next one exports what arrived
    return opened


def _schedule(schedule: ExportSchedule, at: datetime) -> bool:
    """Move ``last_scheduled_at`` by compare-and-set. Return False if another was first."""
    as_read = ExportSchedule.objects.filter(
        pk=schedule.pk, last_scheduled_at=schedule.last_scheduled_at
    )
    return bool(as_read.update(last_scheduled_at=at))


def _open(schedule: ExportSchedule) -> ScheduledExport:
    run = ScheduledExport.objects.create(schedule=schedule)
    run.notify()
    return run


def _audit(actor: object, act: str, schedule: ExportSchedule, **details: Any) -> None:
    if "selection" in details:
        # The filter may name metadata values, and audit entries are kept forever.
        details["selection"] = "a filter" if details["selection"] else "everything"
    AuditEntry.write(
        actor,
        f"export_schedule.{act}",
        f"{schedule.model.model_id}: {schedule.name}",
        schedule.model.project,
        export_schedule_id=str(schedule.pk),
        **details,
    )


def table_of(schedule: ExportSchedule) -> str | None:
    """Return the name of the schedule's table in the lake, or None."""
    row = LakeTable.objects.filter(schedule=schedule).first()
    return str(row) if row else None


def _name_conflict() -> Conflict:
    message = "The model has a schedule of that name, or in that place."
    return Conflict("export-schedule-exists", message)


def lag_of(schedule: ExportSchedule, at: datetime) -> timedelta | None:
    """Return the age of the moment up to which everything is exported, or None."""
    if schedule.exported_until is None:
        return None
    return max(timedelta(), at - schedule.exported_until)


def lag(schedule: ExportSchedule, at: datetime) -> float | None:
    """Return the lag in seconds, or None."""
    length = lag_of(schedule, at)
    return None if length is None else length.total_seconds()


def waiting(schedule: ExportSchedule) -> int:
    """Return the number of arrivals after the position; 10,001 means more than 10,000."""
    most = WAITING_MOST + 1
    through = 2**63 - 1
    return arrival_order.count(schedule.model, schedule.position, through, most)
