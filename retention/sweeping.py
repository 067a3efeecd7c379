"""Carry out retention tasks, batch by batch: intent under row locks, blobs, rows.

What is removed is decided in the transaction of each batch, by the earlier of two limits: the
one fixed when the task was opened, and the one its policy gives at that moment. All
progress is in the database: ``open_batch`` is set in the transaction that commits the
intents and cleared in the one that deletes the rows and raises the counters, so a crash
never counts twice. A worker that takes over a task finishes the open batch first; the
steps between the two transactions may run twice. ``inferences.store.removal`` does the
removal itself.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal, Self

from django.conf import settings
from django.db import DatabaseError, transaction
from django.db.models import Exists, OuterRef

from inferences.maintenance import disk_space
from inferences.models import InferencePayload, InferenceQuerySet, RegisteredModel
from inferences.models.row_ids import LOWEST, first_id_at
from inferences.store import removal, scan_bounds
from inferences.store.removal import Batch
from istore.db import clock
from istore.failpoints import failpoint
from istore.tasks.tracking import Failed, Stopped, TaskState
from retention.models import DeleteAction, RetentionPolicy, RetentionTask
from retention.surveying import survey

logger = logging.getLogger(__name__)

WHOLE_EVERY = timedelta(days=1)  # how often a scheduled run ignores the low watermark
LOCKED_PATIENCE = (
    30.0  # seconds for which rows may stay locked before a worker gives up
)
LOCKED_PAUSE = 0.25
WORTH_VACUUM = 10_000  # removed rows; fewer are left to autovacuum

Kind = Literal["records", "inputs"]


@dataclass(frozen=True, slots=True)
class Open:
    """Intents that are committed and not yet counted, between these two row ids."""

    kind: Kind
    lowest: int
    highest: int
    records: int
    blobs: int
    bytes: int

    @classmethod
    def of(cls, kind: Kind, batch: Batch) -> Self:
        """Return the open batch of these intents."""
        records = len(batch.ids) if kind == "records" else 0
        bounds = min(batch.ids), max(batch.ids)
        return cls(kind, *bounds, records, batch.blobs, batch.bytes)

    def __add__(self, other: Open) -> Open:
        """Return the sum of two batches of one kind."""
        return Open(
            self.kind,
            min(self.lowest, other.lowest),
            max(self.highest, other.highest),
            self.records + other.records,
            self.blobs + other.blobs,
            self.bytes + other.bytes,
        )

    def count(self, task: RetentionTask, left: Open | None = None) -> None:
        """Add the batch to the task's counters; only ``left`` stays in ``open_batch``."""
        task.advance(
            heed_stop=False,
            open_batch=None if left is None else asdict(left),
            deleted_record_count=task.deleted_record_count + self.records,
            deleted_blob_count=task.deleted_blob_count + self.blobs,
            deleted_bytes=task.deleted_bytes + self.bytes,
        )


@dataclass(frozen=True, slots=True)
class Going:
    """A batch whose blobs are being deleted by the thread."""

    open: Open
    batch: Batch
    objects: Future[None]


def sweep(task: RetentionTask) -> bool:
    """Remove what lies beyond the task's limits. Return False if another worker holds it."""
    if not task.claim():
        return False
    failpoint("retention.claimed")
    with task.recording_outcome():
        if task.counted_at is None:
            _count_totals(task)
        failpoint("retention.counted")
        if not task.dry_run:
            with ThreadPoolExecutor(1, "retention") as thread:
                run = _Run(task, thread)
                run.finish_left()
                # Records first: a hard delete of a record also removes its input, in one step.
                run.remove("records")
                run.remove("inputs")
        failpoint("retention.swept")
    if task.state == TaskState.COMPLETE and not task.dry_run:
        _tidy(task)
    return True


def _count_totals(task: RetentionTask) -> None:
    found = survey(task.model, task.fixed_limits)
    task.record(
        counted_at=clock.now(),
        is_whole=not task.by_schedule or not _was_whole_lately(task),
        total_record_count=found.records.count,
        total_blob_count=found.inputs.count,
        total_bytes=found.inputs.bytes,
        protected_record_count=found.protected_records.count,
        protected_blob_count=found.protected_inputs.count,
    )


def _was_whole_lately(task: RetentionTask) -> bool:
    """Return whether a run of the last day began at the first inference.

    A low watermark (``blob_gone_before``) that is too high delays removals but loses nothing.
    So a scheduled run ignores it once a day and begins at the start.
    """
    lately = clock.now() - WHOLE_EVERY
    whole = task.model.retention_tasks.filter(is_whole=True, dry_run=False)
    return whole.filter(state=TaskState.COMPLETE, created_at__gt=lately).exists()


class _Run:
    """One attempt at a task, by the worker that holds it.

    A thread deletes the blobs, batch after batch, without the database. While it deletes those of
    one batch, the intents of the next are committed and the rows of the last are removed. So at
    most two batches are open.
    """

    def __init__(self, task: RetentionTask, thread: ThreadPoolExecutor) -> None:
        self.task, self.model, self.thread = task, task.model, thread
        self.going: deque[Going] = deque()

    def finish_left(self) -> None:
        """Finish the batch that the last worker committed but did not count."""
        if self.task.open_batch is None:
            return
        left = Open(**self.task.open_batch)
        finish: dict[str, Callable[..., object]] = {
            "records": removal.finish,
            "inputs": removal.finish_inputs,
        }
        finish[left.kind](self.model, between=(left.lowest, left.highest))
        failpoint("retention.removed")
        left.count(self.task)
        failpoint("retention.batch_counted")

    def remove(self, kind: Kind) -> None:
        """Remove everything stale of one kind, oldest first."""
        start = self._start(kind)
        try:
            below = self._until_none_is_left(kind, start)
            # A record written below the watermark while it rose is found by a second round.
            if kind == "inputs" and scan_bounds.raise_sweep_start(self.model, below):
                self._until_none_is_left(kind, start)
        except (Stopped, Failed):
            self._finish_going()  # finish committed intents before the task ends
            raise

    def _until_none_is_left(self, kind: Kind, start: int) -> int:
        """Remove batches until nothing is stale, and return the row id below which that holds.

        Raises ``TimeoutError`` if rows stay locked for ``LOCKED_PATIENCE`` seconds.
        """
        above, waiting_since = start, time.monotonic()
        while True:
            batch, below = self._commit_batch(kind, above)
            if batch.ids:
                self._finish_going(but=1)
                above, waiting_since = batch.ids[-1] + 1, time.monotonic()
                continue
            self._finish_going()
            if above > start:
                above = start  # once more from the start, for rows that were locked
            elif not stale(kind, self.model, start, below).exists():
                return below
            elif time.monotonic() - waiting_since > LOCKED_PATIENCE:
                raise TimeoutError(f"Rows of {self.model} stay locked.")
            else:
                time.sleep(LOCKED_PAUSE)

    def _commit_batch(self, kind: Kind, above: int) -> tuple[Batch, int]:
        """Commit the intents of one batch; return the batch and the row id that was its limit.

        Then the thread begins to delete its blobs.
        """
        with transaction.atomic():
            policy = self._policy()
            limits = self.task.fixed_limits.or_earlier(policy.limits(_now()))
            limit = limits.records if kind == "records" else limits.inputs
            below = first_id_at(limit)
            rows = stale(kind, self.model, above, below)
            hard = {self.task.delete_action, policy.delete_action} == {
                DeleteAction.HARD
            }
            if kind == "records" and not hard:
                batch = removal.hide_records(self.model, rows)
                done = self.task.deleted_record_count + len(batch.ids)
                self.task.advance(deleted_record_count=done)
                return batch, below
            intend = {
                "records": removal.intend_records,
                "inputs": removal.intend_inputs,
            }[kind]
            batch = intend(self.model, rows)
            opened = Open.of(kind, batch) if batch.ids else None
            self._record(opened)
            failpoint("retention.intending")
        failpoint("retention.intended")
        if opened is not None:
            self._let_go(opened, batch)
        return batch, below

    def _record(self, opened: Open | None) -> None:
        """Renew the lease, and write the open batches to the task."""
        if opened is None:
            self.task.record()
            return
        whole = sum((each.open for each in self.going), start=opened)
        self.task.record(open_batch=asdict(whole))

    def _let_go(self, opened: Open, batch: Batch) -> None:
        """Have the thread delete the blobs of the batch."""
        delete = {
            "records": removal.delete_objects,
            "inputs": removal.delete_inputs,
        }[opened.kind]
        self.going.append(Going(opened, batch, self.thread.submit(delete, batch)))

    def _finish_going(self, but: int = 0) -> None:
        """Wait for the blobs of all batches but the newest ``but``, then remove their rows."""
        while len(self.going) > but:
            first = self.going.popleft()
            first.objects.result()
            left = self.going[0].open if self.going else None
            clear = {
                "records": removal.remove_rows,
                "inputs": removal.clear_inputs,
            }[first.open.kind]
            with transaction.atomic():
                clear(self.model, first.batch)
                first.open.count(self.task, left)
                failpoint("retention.removed")
            failpoint("retention.batch_counted")

    def _policy(self) -> RetentionPolicy:
        """Return the locked policy; a change of it waits until the batch is committed.

        Raises ``Stopped`` if it was deleted.
        """
        found = RetentionPolicy.objects.select_for_update().filter(
            pk=self.task.policy_id
        )
        policy = found.first()
        if policy is None:
            raise Stopped("The policy was deleted.")
        return policy

    def _start(self, kind: Kind) -> int:
        """Return the row id at which the scan begins: a low watermark, or the very first."""
        if kind == "records":
            return self.model.first_id
        return LOWEST if self.task.is_whole else self.model.blob_gone_before


def stale(
    kind: Kind, model: RegisteredModel, above: int, below: int
) -> InferenceQuerySet:
    """Return the rows in ``[above, below)`` that a sweep of this kind removes.

    For inputs this includes soft-deleted records, whose inputs age, too.
    """
    rows = model.inferences.unprotected().filter(id__gte=above, id__lt=below)
    if kind == "records":
        return rows.live()
    # The range is repeated for the payloads, because the planner does not carry it over.
    kept = InferencePayload.objects.beside(OuterRef("registered_model")).filter(
        id=OuterRef("id"),
        id__gte=above,
        id__lt=below,
        input_removal_at=None,
        removal_at=None,
    )
    return rows.filter(Exists(kept.exclude(data_storage_key="")))


def _now() -> datetime:
    """Return the time by the database's clock.

    Raises ``Failed`` if this process's clock differs too much: then nothing is removed.
    """
    at = clock.now()
    apart = abs((datetime.now(UTC) - at).total_seconds())
    if apart > settings.ISTORE_CLOCK_SKEW_MAX_SECONDS:
        raise Failed(f"clock-skew: this worker's clock is {apart:.0f} s off.")
    return at


def _tidy(task: RetentionTask) -> None:
    """Raise the low watermark and vacuum after a sweep. A failure costs only speed."""
    try:
        model = RegisteredModel.objects.get(pk=task.model_id)
        scan_bounds.raise_first_id(model)
        if task.done >= WORTH_VACUUM:
            disk_space.vacuum(LOWEST, first_id_at(task.maximum_blob_age_limit))
            disk_space.give_back(clock.now())
    except DatabaseError:
        logger.exception("The tables could not be tidied after %s.", task)
