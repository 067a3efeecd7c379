"""A run of a schedule: everything that arrived since the last run, in chunks.

(1) Claim. (2) Fix the high watermark: the last arrival that belongs to the run. Then for each
chunk: (3) commit its bounds, (4) write its files to temporary files, (5) commit their names as
announced, (6) store them, each whole or not at all, (7) remove files that an earlier attempt
announced and that have no rows now, (8) commit the files and move the position in one
transaction. After a crash before (8) the chunk is written again with the same bounds and so
under the same names. The new files replace the old, and readers never see a row twice.

A schedule of the lake has one step instead of (4) to (7): ``lake.appending`` commits the chunk with
its bounds to the table, and an attempt that finds its bounds there appends nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from botocore.exceptions import BotoCoreError, ClientError
from django.conf import settings
from django.db import transaction
from django.db.models import F
from django.db.models.functions import Now

from exports import telemetry
from exports.lake.doors import append_chunk
from exports.schedules import files
from exports.schedules.destinations import Destination, Unknown
from exports.schedules.files import Part, Parts
from exports.schedules.models import ExportedFile, ExportSchedule, ScheduledExport
from inferences.search.filters import Filter, matching
from inferences.store import arrival_order
from istore.db import clock
from istore.errors import Unavailable
from istore.failpoints import failpoint
from istore.tasks.lease_keeper import LeaseKeeper
from istore.tasks.tracking import Failed, LeaseLost, TaskState

IDS_AT_ONCE = 10_000
FOREIGN = "There are files in its place that are not its own: {}"


@dataclass(frozen=True)
class Written:
    """What a chunk has brought; the lake counts its files and has no ``parts``."""

    row_count: int
    inference_count: int
    file_count: int
    left_out: dict[str, int]
    parts: Sequence[Part] = field(default_factory=list)


class StoreUnavailable(Exception):
    """The destination refused or did not answer; a retry may succeed."""


def carry_out(run: ScheduledExport) -> None:
    """Export what has arrived. It does nothing if another worker holds the run."""
    if not run.claim():
        return
    failpoint("schedules.claimed")
    try:
        with run.recording_outcome(), _told_plainly():
            _write_all(run)
    finally:
        _tell(run)


def _write_all(run: ScheduledExport) -> None:
    schedule = run.schedule
    destination = Destination(schedule.destination)
    chosen = _filter_of(schedule)
    if not schedule.goes_to_lake:
        _check_place(schedule, destination)
    if run.through is None:
        _fix_horizon(run)
    failpoint("schedules.horizon_fixed")
    while (through := _next_chunk(run)) is not None:
        if schedule.goes_to_lake:
            _append_chunk(run, chosen, through)
        else:
            _write_chunk(run, destination, chosen, through)
    with transaction.atomic():
        run.advance(passed_count=run.arrived_count)
        ExportSchedule.objects.filter(pk=schedule.pk).update(
            exported_until=run.fixed_at, updated_at=Now()
        )


def _filter_of(schedule: ExportSchedule) -> Filter:
    try:
        return schedule.read_filter()
    except ValueError as error:
        raise Failed(f"The filter cannot be read: {error}") from None


def _check_place(schedule: ExportSchedule, destination: Destination) -> None:
    """Raise ``Failed`` if a first run finds files in its folder.

    Readers would take foreign files for ours, and could see a row twice.
    """
    if schedule.exported_files.exists():
        return
    folder = files.folder_of(schedule)
    if destination.holds_anything(folder):
        raise Failed(FOREIGN.format(folder))


def _fix_horizon(run: ScheduledExport) -> None:
    """Record the high watermark of the run, and how many arrivals it covers."""
    model, schedule = run.schedule.model, run.schedule
    at = clock.now()
    through = arrival_order.committed_watermark(model)
    count = arrival_order.count(model, schedule.position, through)
    run.record(through=through, fixed_at=at, arrived_count=count)


def _next_chunk(run: ScheduledExport) -> int | None:
    """Commit the bounds of the next chunk and return its end, or None if nothing is left.

    A chunk that an attempt left unfinished comes first, with its old bounds.
    """
    with transaction.atomic():
        run.record()
        schedule = ExportSchedule.objects.select_for_update().get(pk=run.schedule_id)
        run.schedule.position = schedule.position
        assert run.through is not None  # the run is fixed before its first chunk
        if schedule.chunk_through is None:
            schedule.chunk_through = arrival_order.end_of_chunk(
                run.schedule.model,
                schedule.position,
                run.through,
                settings.ISTORE_SCHEDULED_EXPORT_ROWS,
            )
            schedule.save(update_fields=["chunk_through"])
    failpoint("schedules.chunk_begun")
    return schedule.chunk_through


def _write_chunk(
    run: ScheduledExport, destination: Destination, chosen: Filter, through: int
) -> None:
    schedule = run.schedule
    after = schedule.position
    rows = list(_matching_rows(schedule, chosen, after, through))
    with files.written(schedule, after, rows) as parts:
        failpoint("schedules.files_made")
        _announce(run, parts.parts, after, through)
        failpoint("schedules.files_announced")
        for part in parts.parts:
            run.record()
            destination.put(part.key, part.file)
            failpoint("schedules.file_stored")
        _remove_leftovers(run, destination, parts)
        failpoint("schedules.leftovers_removed")
        written = Written(
            parts.row_count,
            parts.inference_count,
            len(parts.parts),
            dict(parts.left_out),
            parts.parts,
        )
        _commit(run, written, through)
        telemetry.rows.add(telemetry.SCHEDULED, by=parts.row_count)
        size = sum(part.size for part in parts.parts)
        telemetry.written_bytes.add(telemetry.SCHEDULED, by=size)
    failpoint("schedules.chunk_committed")


def _append_chunk(run: ScheduledExport, chosen: Filter, through: int) -> None:
    schedule = run.schedule

    def read_rows() -> list[int]:
        return list(_matching_rows(schedule, chosen, schedule.position, through))

    with LeaseKeeper(run).in_background() as check:
        found = append_chunk(schedule, through, read_rows, check)
    written = Written(
        found.row_count, found.inference_count, found.file_count, found.left_out
    )
    _commit(run, written, through)
    telemetry.rows.add(telemetry.SCHEDULED, by=found.row_count)
    failpoint("schedules.chunk_committed")


def _matching_rows(
    schedule: ExportSchedule, chosen: Filter, after: int, through: int
) -> Iterator[int]:
    """Yield the live rows of the chunk that match, oldest event first."""
    row_ids = arrival_order.row_ids(schedule.model, after, through)
    for start in range(0, len(row_ids), IDS_AT_ONCE):
        some = row_ids[start : start + IDS_AT_ONCE]
        found = matching(schedule.model, chosen).filter(id__in=some)
        yield from sorted(found.values_list("id", flat=True))


@transaction.atomic
def _announce(
    run: ScheduledExport, parts: Sequence[Part], after: int, through: int
) -> None:
    """Commit rows for files before they are stored.

    So an uncommitted file that is found later is known to be ours, and may be deleted.
    """
    run.record()
    ExportedFile.objects.bulk_create(
        [
            ExportedFile(
                schedule=run.schedule,
                key=part.key,
                date=part.date,
                arrived_after=after,
                arrived_through=through,
            )
            for part in parts
        ],
        ignore_conflicts=True,
    )


def _remove_leftovers(
    run: ScheduledExport, destination: Destination, parts: Parts
) -> None:
    """Delete files of an earlier attempt at this chunk, of dates without rows now."""
    announced = run.schedule.exported_files.filter(committed_at=None)
    for left in announced.exclude(key__in=parts.by_key):
        run.record()
        destination.remove(left.key)
        left.delete()


@transaction.atomic
def _commit(run: ScheduledExport, written: Written, through: int) -> None:
    """Commit the files and move the position, both or neither. Raises ``LeaseLost``."""
    schedule = run.schedule
    passed = arrival_order.count(schedule.model, schedule.position, through)
    run.advance(
        left_out=dict(Counter(run.left_out) + Counter(written.left_out)),
        **run.counted(
            passed_count=passed,
            row_count=written.row_count,
            inference_count=written.inference_count,
            file_count=written.file_count,
        ),
    )
    moved = ExportSchedule.objects.filter(
        pk=schedule.pk, position=schedule.position, chunk_through=through
    ).update(
        position=through,
        chunk_through=None,
        row_count=F("row_count") + written.row_count,
        file_count=F("file_count") + written.file_count,
        updated_at=Now(),
    )
    if not moved:
        raise LeaseLost(f"{run}: the position was moved by another worker.")
    for part in written.parts:
        schedule.exported_files.filter(key=part.key).update(
            row_count=part.row_count,
            size=part.size,
            sha256=part.sha256,
            committed_at=Now(),
        )
    failpoint("schedules.committing")


def _tell(run: ScheduledExport) -> None:
    """Write the last error to the schedule, or clear it after a complete run."""
    schedule = ExportSchedule.objects.filter(pk=run.schedule_id)
    if run.state == TaskState.COMPLETE:
        schedule.update(last_error="", last_error_at=None)
    elif run.reason:
        schedule.update(last_error=run.reason, last_error_at=Now())


@contextmanager
def _told_plainly() -> Iterator[None]:
    """Turn errors of the destination in the block into the reasons that a run shows."""
    try:
        yield
    except Unknown as error:
        raise Failed(str(error)) from None
    except (BotoCoreError, ClientError, Unavailable) as error:
        raise StoreUnavailable(str(error)) from error
