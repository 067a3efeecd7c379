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
from abc import ABC, abstractmethod
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import ClassVar, Self

from django.conf import settings
from django.db import DatabaseError, transaction
from django.db.models import Exists, OuterRef

from inferences.maintenance import disk_space
from inferences.models import InferencePayload, InferenceQuerySet, RegisteredModel
from inferences.models.row_ids import LOWEST, first_id_at
from inferences.store import pack_rewriting, removal, scan_bounds
from inferences.store.pack_rewriting import Rewritten
from inferences.store.removal import Batch, Removal
from istore import blobs
from istore.blobs import pack_notes
from istore.db import clock
from istore.errors import Unavailable
from istore.failpoints import failpoint
from istore.tasks.lease_keeper import LeaseKeeper
from istore.tasks.tracking import Failed, Stopped, TaskState
from retention import telemetry
from retention.models import DeleteAction, Limits, RetentionPolicy, RetentionTask
from retention.surveying import survey

logger = logging.getLogger(__name__)

WHOLE_EVERY = timedelta(days=1)  # how often a scheduled run ignores the low watermark
LOCKED_PATIENCE = (
    30.0  # seconds for which rows may stay locked before a worker gives up
)
LOCKED_PAUSE = 0.25
PACKS_AT_ONCE = 10_000  # more are rewritten before the sweep goes on
WORTH_VACUUM = 10_000  # removed rows; fewer are left to autovacuum


@dataclass(frozen=True, slots=True)
class Open:
    """Intents that are committed and not yet counted, between these two row ids."""

    kind: str  # the name of the removal
    lowest: int
    highest: int
    records: int
    blobs: int
    bytes: int

    @classmethod
    def of(cls, kind: str, batch: Batch) -> Self:
        """Return the open batch of these intents."""
        bounds = min(batch.ids), max(batch.ids)
        return cls(kind, *bounds, batch.records, batch.blobs, batch.bytes)

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
        telemetry.records.add(by=self.records)
        telemetry.inputs.add(by=self.blobs)
        telemetry.removed_bytes.add(by=self.bytes)


@dataclass(frozen=True, slots=True)
class Going:
    """A batch whose blobs are being deleted by the thread."""

    open: Open
    batch: Batch
    objects: Future[None]


class Trail:
    """What the batches of one attempt leave to do: packs to rewrite, and blobs to tell of.

    A worker that takes a task over does not know the packs of the one before: it takes those
    with a release since the task was opened.
    """

    def __init__(self, task: RetentionTask) -> None:
        self.task = task
        self.left: dict[str, BaseException | str] = {}
        self.packs: set[str] = set()

    def follow(self, going: Going) -> Batch:
        """Wait for the blobs of a batch; return it without the rows of which some are left."""
        try:
            going.objects.result()
        except blobs.BlobsLeft as error:
            self.left |= error.why
            return going.batch.without(error.why)
        finally:
            self.packs |= going.batch.packs
        return going.batch

    def rewrite_packs(self) -> None:
        """Rewrite the packs on an object store: only then is what was removed gone."""
        task = self.task
        below = f"{task.model.project_id}/{task.model_id}/"
        if task.attempt > 1:
            since = task.created_at
            self.packs.update(pack_notes.packs_with_notes(below, since=since))
        with LeaseKeeper(task).in_background():
            pack_rewriting.rewrite_until_done(self.packs, below, self._count)
        self.packs.clear()
        task.record()

    def _count(self, done: Rewritten) -> None:
        task = self.task
        task.advance(
            heed_stop=False,
            deleted_pack_count=task.deleted_pack_count + done.deleted,
            rewritten_pack_count=task.rewritten_pack_count + done.rewritten,
            given_back_bytes=task.given_back_bytes + done.bytes,
        )

    def tell_left(self) -> None:
        """Raise ``Failed`` if blobs are left. Their intents are carried out by beat."""
        if self.left:
            raise Failed(f"{blobs.BlobsLeft(self.left)} They are tried again.")


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
            trail = Trail(task)
            with ThreadPoolExecutor(1, "retention") as thread:
                _finish_open_batch(task, trail)
                # Records first: a hard delete of a record also removes its input, in one step.
                RecordSweep(task, thread, trail).run()
                InputSweep(task, thread, trail).run()
            try:
                trail.rewrite_packs()
            finally:  # the next attempt would not know of what is left
                trail.tell_left()
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


def _finish_open_batch(task: RetentionTask, trail: Trail) -> None:
    """Finish the batch that the last worker committed but did not count."""
    if task.open_batch is None:
        return
    left = Open(**task.open_batch)
    try:
        removal.KINDS[left.kind].finish(task.model, between=(left.lowest, left.highest))
    except blobs.BlobsLeft as error:
        trail.left |= error.why
    failpoint("retention.removed")
    left.count(task)
    failpoint("retention.batch_counted")


class Sweep(ABC):
    """One attempt to remove everything stale of one kind, by the worker that holds the task.

    A thread deletes the blobs, batch after batch, without the database. While it deletes those of
    one batch, the intents of the next are committed and the rows of the last are removed. So at
    most two batches are open.
    """

    kind: ClassVar[Removal]

    def __init__(
        self, task: RetentionTask, thread: ThreadPoolExecutor, trail: Trail
    ) -> None:
        self.task, self.model, self.thread = task, task.model, thread
        self.trail = trail
        self.going: deque[Going] = deque()

    @abstractmethod
    def start(self) -> int:
        """Return the row id at which the scan begins: a low watermark, or the very first."""

    @abstractmethod
    def below(self, limits: Limits) -> int:
        """Return the row id below which the limits let rows go."""

    @abstractmethod
    def stale(self, above: int, below: int) -> InferenceQuerySet:
        """Return the rows in ``[above, below)`` that are to go."""

    def run(self) -> None:
        """Remove everything stale, oldest first."""
        try:
            self._until_none_is_left(self.start())
        except (Stopped, Failed):
            self._finish_going()  # finish committed intents before the task ends
            raise

    def _until_none_is_left(self, start: int) -> int:
        """Remove batches until nothing is stale, and return the row id below which that holds.

        Raises ``Unavailable`` if rows stay locked for ``LOCKED_PATIENCE`` seconds.
        """
        above, waiting_since = start, time.monotonic()
        while True:
            batch, below = self._commit_batch(above)
            if batch.ids:
                self._finish_going(but=1)
                above, waiting_since = batch.ids[-1] + 1, time.monotonic()
                continue
            self._finish_going()
            if above > start:
                above = start  # once more from the start, for rows that were locked
            elif not self.stale(start, below).exists():
                return below
            elif time.monotonic() - waiting_since > LOCKED_PATIENCE:
                raise Unavailable("rows-locked", f"Rows of {self.model} stay locked.")
            else:
                time.sleep(LOCKED_PAUSE)

    def _commit_batch(self, above: int) -> tuple[Batch, int]:
        """Commit the intents of one batch; return the batch and the row id that was its limit.

        Then the thread begins to delete its blobs.
        """
        with transaction.atomic():
            policy = self._policy()
            limits = self.task.fixed_limits.or_earlier(policy.limits(_now()))
            below = self.below(limits)
            batch, opened = self._intend(policy, self.stale(above, below))
        if opened is not None:
            failpoint("retention.intended")
            objects = self.thread.submit(self.kind.delete, batch)
            self.going.append(Going(opened, batch, objects))
        return batch, below

    def _intend(
        self, policy: RetentionPolicy, rows: InferenceQuerySet
    ) -> tuple[Batch, Open | None]:
        """Set the intents of one batch, renew the lease, and write the open batches to the task."""
        batch, opened = self.kind.intend(self.model, rows), None
        if batch.ids:
            opened = Open.of(self.kind.name, batch)
            whole = sum((each.open for each in self.going), start=opened)
            self.task.record(open_batch=asdict(whole))
        else:
            self.task.record()
        failpoint("retention.intending")
        return batch, opened

    def _finish_going(self, but: int = 0) -> None:
        """Wait for the blobs of all batches but the newest ``but``, then remove their rows."""
        while len(self.going) > but:
            first = self.going.popleft()
            batch = self.trail.follow(first)
            left = self.going[0].open if self.going else None
            with transaction.atomic():
                self.kind.clear(self.model, batch)
                first.open.count(self.task, left)
                failpoint("retention.removed")
            failpoint("retention.batch_counted")
            if len(self.trail.packs) > PACKS_AT_ONCE:
                self.trail.rewrite_packs()

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


class RecordSweep(Sweep):
    """Removes records, or hides them where the task or the policy is to delete softly."""

    kind = removal.RECORDS

    def start(self) -> int:
        return self.model.first_id

    def below(self, limits: Limits) -> int:
        return first_id_at(limits.records)

    def stale(self, above: int, below: int) -> InferenceQuerySet:
        return stale_records(self.model, above, below)

    def _intend(
        self, policy: RetentionPolicy, rows: InferenceQuerySet
    ) -> tuple[Batch, Open | None]:
        if {self.task.delete_action, policy.delete_action} == {DeleteAction.HARD}:
            return super()._intend(policy, rows)
        batch = removal.hide_records(self.model, rows)
        done = self.task.deleted_record_count + len(batch.ids)
        self.task.advance(deleted_record_count=done)
        telemetry.records.add(by=len(batch.ids))
        return batch, None


class InputSweep(Sweep):
    """Removes inputs, and raises the low watermark at which the next scan begins."""

    kind = removal.INPUTS

    def start(self) -> int:
        return LOWEST if self.task.is_whole else self.model.blob_gone_before

    def below(self, limits: Limits) -> int:
        return first_id_at(limits.inputs)

    def stale(self, above: int, below: int) -> InferenceQuerySet:
        return stale_inputs(self.model, above, below)

    def _until_none_is_left(self, start: int) -> int:
        below = super()._until_none_is_left(start)
        # A record written below the watermark while it rose is found by a second round.
        if scan_bounds.raise_sweep_start(self.model, below):
            return super()._until_none_is_left(start)
        return below


def stale_records(model: RegisteredModel, above: int, below: int) -> InferenceQuerySet:
    """Return the records in ``[above, below)`` that a sweep removes."""
    return model.inferences.unprotected().filter(id__gte=above, id__lt=below).live()


def stale_inputs(model: RegisteredModel, above: int, below: int) -> InferenceQuerySet:
    """Return the rows in ``[above, below)`` whose inputs a sweep removes.

    This includes soft-deleted records, whose inputs age, too.
    """
    # The range is repeated for the payloads, because the planner does not carry it over.
    kept = InferencePayload.objects.beside(OuterRef("registered_model")).filter(
        id=OuterRef("id"),
        id__gte=above,
        id__lt=below,
        input_removal_at=None,
        removal_at=None,
    )
    rows = model.inferences.unprotected().filter(id__gte=above, id__lt=below)
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
