"""Tracked tasks: long work of a worker whose progress anyone can look up.

The row is the work; the queue message only carries its id. A worker holds a task by a lease,
which every record of progress renews. When the worker dies the lease expires, beat sends the
message again, and the next worker continues where the rows say that the last one stopped.
``attempt`` tells the two workers apart: late writes of the first are refused.
"""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, ClassVar, Self, TypeVar

from celery import current_app
from django.apps import apps
from django.conf import settings
from django.db import models, transaction
from django.db.models import F, Q
from django.db.models.functions import Coalesce, Now
from kombu.exceptions import OperationalError

from istore.errors import StoreError, Unavailable
from istore.failpoints import failpoint
from istore.telemetry.metrics import WORKER, Total

logger = logging.getLogger(__name__)

T = TypeVar("T", bound="TrackedTask", covariant=True)

outcomes = Total(
    "istore_task_outcomes_total",
    "Tracked tasks that ended, by kind and outcome.",
    *("kind", "outcome"),
    roles=(WORKER,),
)
LEASE = timedelta(seconds=settings.ISTORE_TASK_LEASE_SECONDS)
REQUEUED_AT_ONCE = 1000  # tasks requeued in one round of beat

# Set when this process is told to stop. Each task goes back at its next record of progress.
is_stopping = threading.Event()


class LeaseLost(Exception):
    """Another worker has taken the task over; the worker that sees this must stop at once."""


class Stopped(Exception):
    """The task was stopped, or what it was for is gone. What is done stays done."""


class GivenBack(Exception):
    """This worker is to stop: the task goes back to the queue, and what is done stays done."""


class Failed(Exception):
    """The task cannot be done and a retry would not help; the message says why in one line."""


class TaskState(models.TextChoices):
    """The state of a tracked task."""

    PENDING = "pending"
    SCHEDULED = "scheduled"  # the queue message was sent
    RUNNING = "running"
    COMPLETE = "complete"
    FAILED = "failed"
    STOPPED = "stopped"


WAITING = [TaskState.PENDING, TaskState.SCHEDULED]
ACTIVE = [*WAITING, TaskState.RUNNING]


def free() -> Q:
    """Return a condition for unclaimed tasks: not begun, or with an expired lease.

    A lease that ends later than a new one would is expired, too: it was taken before the
    database's clock was set back, and a live worker has renewed its lease since.
    """
    ended = Q(lease_until__lt=Now()) | Q(lease_until__gt=Now() + 2 * LEASE)
    left = Q(ended, state=TaskState.RUNNING)
    return Q(state__in=WAITING) | left


class TrackedTaskQuerySet(models.QuerySet[T]):
    def active(self) -> Self:
        """Return tasks that have not ended."""
        return self.filter(state__in=ACTIVE)

    def not_notified(self) -> Self:
        """Unclaimed tasks whose queue message is missing or older than one lease."""
        silent = Q(notified_at=None) | Q(notified_at__lt=Now() - LEASE)
        silent |= Q(
            notified_at__gt=Now() + LEASE
        )  # written before the clock was set back
        return self.filter(free(), silent)


class TrackedTask(models.Model):
    """The base model of tracked tasks. A subclass defines ``runner``, ``done``, ``expected`` and ``audit``.

    ``runner`` is the name of the Celery task that carries the task out. That Celery task takes
    the id, may run twice, and begins with ``claim``.
    """

    runner: ClassVar[str]
    resume_act: ClassVar[str] = "resume"  # as ``audit`` names it

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    state = models.CharField(
        max_length=16, choices=TaskState, default=TaskState.PENDING, editable=False
    )
    reason = models.CharField(
        max_length=300,
        blank=True,
        editable=False,
        help_text="Why it failed or stopped, or why the last attempt broke off.",
    )
    # Incremented by every claim, so that a worker can tell that it lost the task.
    attempt = models.PositiveIntegerField(default=0, editable=False)
    # Claims since the last progress; ``ISTORE_TASK_ATTEMPTS`` of them fail the task.
    attempts_without_progress = models.PositiveSmallIntegerField(
        default=0, editable=False, db_column="fruitless"
    )
    lease_until = models.DateTimeField(null=True, editable=False)
    # When the queue message was sent last.
    notified_at = models.DateTimeField(null=True, editable=False, db_column="rung_at")
    stop_requested_at = models.DateTimeField(null=True, editable=False)
    started_at = models.DateTimeField(null=True, editable=False)
    finished_at = models.DateTimeField(null=True, editable=False)
    # The start of the present attempt, from which ``rate`` is measured.
    claimed_at = models.DateTimeField(null=True, editable=False)
    done_when_claimed = models.PositiveBigIntegerField(default=0, editable=False)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    updated_at = models.DateTimeField(db_default=Now(), editable=False)

    objects = TrackedTaskQuerySet.as_manager()

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return f"{self._meta.verbose_name} {self.pk}"

    # -- state and progress

    @property
    def done(self) -> int:
        """How much of ``expected`` is done, in the units of the subclass."""
        raise NotImplementedError

    @property
    def expected(self) -> int:
        """How much there is to do, in the units of ``done``; 0 if it is not known yet."""
        raise NotImplementedError

    def audit(self, actor: object, act: str, **details: Any) -> None:
        """Write to the audit log that the actor did this with the task: "stop", for example."""
        raise NotImplementedError

    @property
    def is_active(self) -> bool:
        """Whether the task has not ended."""
        return self.state in ACTIVE

    @property
    def share_done(self) -> float:
        """The progress from 0 to 1; always 1 for a complete task."""
        if self.state == TaskState.COMPLETE:
            return 1.0
        return min(1.0, self.done / self.expected) if self.expected else 0.0

    @property
    def rate(self) -> float | None:
        """What is done a second in the present attempt, or None while that is not known."""
        if self.claimed_at is None:
            return None
        seconds = (self.updated_at - self.claimed_at).total_seconds()
        done = self.done - self.done_when_claimed
        return done / seconds if seconds > 0 and done > 0 else None

    @property
    def seconds_left(self) -> float | None:
        """The remaining seconds at the present rate, or None if unknown or not running."""
        if self.state != TaskState.RUNNING or not self.rate:
            return None
        return max(0, self.expected - self.done) / self.rate

    @property
    def left(self) -> timedelta | None:
        """``seconds_left`` as a ``timedelta``, for pages."""
        seconds = self.seconds_left
        return None if seconds is None else timedelta(seconds=min(seconds, 10**9))

    # -- requests: start, stop, resume

    def notify(self) -> None:
        """Send the queue message once the transaction is committed.

        Without a broker, the next round of beat sends it.
        """
        transaction.on_commit(self._notify)

    def _notify(self) -> None:
        failpoint("tracking.committed")
        try:
            current_app.send_task(self.runner, args=[str(self.pk)])
        except OperationalError:
            logger.warning("The broker does not answer; %s waits for the beat.", self)
            return
        this = self._rows().filter(pk=self.pk)
        this.update(notified_at=Now())
        this.filter(state=TaskState.PENDING).update(state=TaskState.SCHEDULED)

    def stop(self) -> bool:
        """Ask the task to stop. Return False if it had ended already.

        An unclaimed task ends at once; a worker sees the request at its next record of progress.
        """
        this = self._rows().filter(pk=self.pk)
        ended = this.filter(free()).update(
            **self._ending(TaskState.STOPPED, "Stopped by request."),
            stop_requested_at=Now(),
        )
        asked = ended or this.active().update(stop_requested_at=Now())
        self.refresh_from_db()
        return bool(asked)

    def resume(self) -> bool:
        """Resume a stopped or failed task. Return False if it is in another state.

        Raises ``IntegrityError`` if another active task is in the way.
        """
        ended = [TaskState.STOPPED, TaskState.FAILED]
        resumed = (
            self._rows()
            .filter(pk=self.pk, state__in=ended)
            .update(
                state=TaskState.PENDING,
                reason="",
                attempts_without_progress=0,
                lease_until=None,
                notified_at=None,
                stop_requested_at=None,
                finished_at=None,
                updated_at=Now(),
            )
        )
        self.refresh_from_db()
        if resumed:
            self.notify()
        return bool(resumed)

    # -- the work of a worker

    def claim(self) -> bool:
        """Take the task for this worker. Return False if another holds it or it has ended.

        One conditional UPDATE decides the race, by the database's clock. No lock is held while the
        work goes on.
        """
        if is_stopping.is_set():
            self.notify()  # the message that this worker took is for another one
            return False
        this = self._rows().filter(free(), pk=self.pk)
        most = settings.ISTORE_TASK_ATTEMPTS
        this.filter(attempts_without_progress__gte=most).update(
            **self._ending(TaskState.FAILED, F("reason"))
        )
        attempt = type(self).objects.values_list("attempt", flat=True).get(pk=self.pk)
        claimed = this.filter(attempt=attempt).update(
            state=TaskState.RUNNING,
            attempt=attempt + 1,
            attempts_without_progress=F("attempts_without_progress") + 1,
            lease_until=Now() + LEASE,
            claimed_at=Now(),
            started_at=Coalesce("started_at", Now()),
            updated_at=Now(),
        )
        self.refresh_from_db()
        if claimed:
            self.record(done_when_claimed=self.done)
        return bool(claimed)

    def record(self, *, heed_stop: bool = True, **values: Any) -> None:
        """Write fields of the task and renew the lease.

        Raises ``LeaseLost`` if another worker took the task over, ``Stopped`` if a stop was
        requested, and ``GivenBack`` if this worker is to stop. Without ``heed_stop`` only the next
        record raises the latter two, so finished work is counted. Call it in the transaction of the work it counts: then both commit or neither.
        """
        # What is whole is kept.
        if heed_stop and is_stopping.is_set() and "finished_at" not in values:
            raise GivenBack("The worker stops.")
        held = self._held()
        wanted = held.filter(stop_requested_at=None) if heed_stop else held
        renewed = {"lease_until": Now() + LEASE, "updated_at": Now()}
        if not wanted.update(**renewed | values):
            if held.exists():
                raise Stopped("Stopped by request.")
            raise LeaseLost(f"{self} was taken over.")
        for name, value in values.items():
            setattr(self, name, value)

    def advance(self, *, heed_stop: bool = True, **values: Any) -> None:
        """Record progress, and reset the count of attempts without progress."""
        self.record(heed_stop=heed_stop, attempts_without_progress=0, **values)

    @contextmanager
    def recording_outcome(self) -> Iterator[None]:
        """Complete the task at the end of the block; stop or fail it if the block raises so.

        A ``StoreError`` fails it, too. ``Unavailable`` and any other exception releases it for a
        retry by beat, until ``ISTORE_TASK_ATTEMPTS`` attempts in a row made no progress.
        """
        try:
            yield
        except LeaseLost:
            logger.warning("%s was taken over by another worker.", self)
        except Stopped as error:
            self._end(TaskState.STOPPED, str(error))
        except GivenBack:
            self._give_back()
        except Unavailable as error:
            logger.warning("%s waits: %s", self, error)
            self.release(str(error))
        except (Failed, StoreError) as error:
            self._end(TaskState.FAILED, str(error))
        except Exception as error:
            logger.exception("%s broke off.", self)
            self.release(f"Broke off: {type(error).__name__}.")
        else:
            self._end(TaskState.COMPLETE)

    def complete(self, **values: Any) -> None:
        """Complete the task with these values in one statement, before ``recording_outcome`` ends.

        It is for work that counts only when complete. Raises as ``record`` does.
        """
        self.record(**values, **self._ending(TaskState.COMPLETE, ""))
        outcomes.add(self._meta.label_lower, str(TaskState.COMPLETE))
        self.refresh_from_db()

    def release(self, reason: str = "") -> None:
        """Give the task back before its lease ends; beat sends the message for the next worker."""
        if self.attempts_without_progress >= settings.ISTORE_TASK_ATTEMPTS:
            self._end(TaskState.FAILED, reason)
            return
        self._held().update(
            lease_until=Now(), notified_at=Now(), reason=reason[:300], updated_at=Now()
        )
        self.refresh_from_db()

    def _give_back(self) -> None:
        """Let another worker go on at once; this attempt does not count as one without progress."""
        logger.info("%s is given back.", self)
        held = self._held()
        held.filter(attempts_without_progress__gt=0).update(
            attempts_without_progress=F("attempts_without_progress") - 1
        )
        held.update(lease_until=Now(), notified_at=None, updated_at=Now())
        self.refresh_from_db()
        self.notify()

    def _end(self, state: TaskState, reason: str = "") -> None:
        """Write the outcome, unless another worker has taken the task over."""
        if self._held().update(**self._ending(state, reason[:300])):
            outcomes.add(self._meta.label_lower, str(state))
        self.refresh_from_db()

    @staticmethod
    def _ending(state: TaskState, reason: Any) -> dict[str, Any]:
        over = {"lease_until": None, "finished_at": Now(), "updated_at": Now()}
        return {"state": state, "reason": reason, **over}

    def _held(self) -> TrackedTaskQuerySet[TrackedTask]:
        return self._rows().filter(
            pk=self.pk, attempt=self.attempt, state=TaskState.RUNNING
        )

    @classmethod
    def _rows(cls) -> TrackedTaskQuerySet[TrackedTask]:
        return cls.objects.all()


def requeue_stale() -> int:
    """Send the queue message of every unclaimed task again; return how many were sent.

    Beat calls it: messages get lost, and workers die.
    """
    sent = 0
    for kind in apps.get_models():
        if issubclass(kind, TrackedTask):
            for task in kind.objects.not_notified().order_by("created_at")[
                :REQUEUED_AT_ONCE
            ]:
                task.notify()
                sent += 1
    return sent
