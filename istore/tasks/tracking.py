"""Long work that a worker carries out while anyone may look up its progress.

The row is the work; the queue only carries its id. A worker holds a task by a lease that
every record of progress renews. When the worker dies the lease runs out, the beat rings
again and the next worker takes over where the rows say that the last one was; ``attempt``
tells the two apart, so that what the first may still do is refused.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, ClassVar, Self

from celery import current_app
from django.apps import apps
from django.conf import settings
from django.db import models, transaction
from django.db.models import F, Q
from django.db.models.functions import Coalesce, Now
from kombu.exceptions import OperationalError

from istore.failpoints import failpoint

logger = logging.getLogger(__name__)

LEASE = timedelta(seconds=settings.ISTORE_TASK_LEASE_SECONDS)
RUNG_AT_ONCE = 1000  # how many one round of the beat rings for; the rest come next


class LeaseLost(Exception):
    """Another worker has taken the task over; whoever sees this stops at once."""


class Stopped(Exception):
    """Somebody stopped the task, or what it was for is gone: what is done stays done."""


class Failed(Exception):
    """The task cannot be done, and trying again would not help. Says why in one line."""


class TaskState(models.TextChoices):
    PENDING = "pending"
    SCHEDULED = "scheduled"  # the queue has been told
    RUNNING = "running"
    COMPLETE = "complete"
    FAILED = "failed"
    STOPPED = "stopped"


WAITING = [TaskState.PENDING, TaskState.SCHEDULED]
ACTIVE = [*WAITING, TaskState.RUNNING]


def free() -> Q:
    """Tasks that nobody holds: not begun, or left by a worker whose lease ran out.

    Nobody holds a lease that ends later than a new one would: it was taken before the
    database's clock was put back, and a worker that lives has renewed it since.
    """
    ended = Q(lease_until__lt=Now()) | Q(lease_until__gt=Now() + 2 * LEASE)
    left = Q(ended, state=TaskState.RUNNING)
    return Q(state__in=WAITING) | left


class TrackedTaskQuerySet(models.QuerySet):
    def active(self) -> Self:
        return self.filter(state__in=ACTIVE)

    def not_notified(self) -> Self:
        """Unclaimed tasks whose queue message is missing or older than one lease."""
        silent = Q(rung_at=None) | Q(rung_at__lt=Now() - LEASE)
        silent |= Q(rung_at__gt=Now() + LEASE)  # by a clock that was put back
        return self.filter(free(), silent)


class TrackedTask(models.Model):
    """The base of tasks. A subclass names its ``runner`` and says ``done`` of ``expected``.

    ``runner`` is the name of the Celery task that carries one out; it takes the id, may
    run twice, and begins with ``claim``.
    """

    runner: ClassVar[str]

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
    # Raised by every claim, so that a worker can tell that it lost the task.
    attempt = models.PositiveIntegerField(default=0, editable=False)
    # Claims since there was progress; ``ISTORE_TASK_ATTEMPTS`` of them end the task.
    fruitless = models.PositiveSmallIntegerField(default=0, editable=False)
    lease_until = models.DateTimeField(null=True, editable=False)
    rung_at = models.DateTimeField(null=True, editable=False)
    stop_requested_at = models.DateTimeField(null=True, editable=False)
    started_at = models.DateTimeField(null=True, editable=False)
    finished_at = models.DateTimeField(null=True, editable=False)
    # What the rate of the present attempt is measured from.
    claimed_at = models.DateTimeField(null=True, editable=False)
    done_when_claimed = models.PositiveBigIntegerField(default=0, editable=False)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    updated_at = models.DateTimeField(db_default=Now(), editable=False)

    objects = TrackedTaskQuerySet.as_manager()

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return f"{self._meta.verbose_name} {self.pk}"

    # -- what people are told

    @property
    def done(self) -> int:
        """How much of ``expected`` is done."""
        raise NotImplementedError

    @property
    def expected(self) -> int:
        raise NotImplementedError

    @property
    def is_active(self) -> bool:
        return self.state in ACTIVE

    @property
    def share_done(self) -> float:
        """From 0 to 1; a task that is complete is done, however little there was."""
        if self.state == TaskState.COMPLETE:
            return 1.0
        return min(1.0, self.done / self.expected) if self.expected else 0.0

    @property
    def rate(self) -> float | None:
        """How much was done a second, in the present attempt. None: nothing to tell yet."""
        if self.claimed_at is None:
            return None
        seconds = (self.updated_at - self.claimed_at).total_seconds()
        done = self.done - self.done_when_claimed
        return done / seconds if seconds > 0 and done > 0 else None

    @property
    def seconds_left(self) -> float | None:
        """At the rate of now; None when that is not known, or nothing is running."""
        if self.state != TaskState.RUNNING or not self.rate:
            return None
        return max(0, self.expected - self.done) / self.rate

    @property
    def left(self) -> timedelta | None:
        """``seconds_left``, as pages write lengths of time."""
        seconds = self.seconds_left
        return None if seconds is None else timedelta(seconds=min(seconds, 10**9))

    # -- asking for work

    def ring(self) -> None:
        """Let a worker begin once the transaction is committed.

        Without a broker the next round of the beat does.
        """
        transaction.on_commit(self._ring)

    def _ring(self) -> None:
        failpoint("tracking.committed")
        try:
            current_app.send_task(self.runner, args=[str(self.pk)])
        except OperationalError:
            logger.warning("The broker does not answer; %s waits for the beat.", self)
            return
        this = self._rows().filter(pk=self.pk)
        this.update(rung_at=Now())
        this.filter(state=TaskState.PENDING).update(state=TaskState.SCHEDULED)

    def stop(self) -> bool:
        """Ask the task to end where it is. False if it had ended already.

        A task that nobody holds ends at once; a worker sees it with its next record.
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
        """Let a stopped or failed task go on. False if it is not one.

        Raises IntegrityError where another active task is in the way.
        """
        ended = [TaskState.STOPPED, TaskState.FAILED]
        resumed = (
            self._rows()
            .filter(pk=self.pk, state__in=ended)
            .update(
                state=TaskState.PENDING,
                reason="",
                fruitless=0,
                lease_until=None,
                rung_at=None,
                stop_requested_at=None,
                finished_at=None,
                updated_at=Now(),
            )
        )
        self.refresh_from_db()
        if resumed:
            self.ring()
        return bool(resumed)

    # -- doing it

    def claim(self) -> bool:
        """Take the task for this worker. False if another holds it, or it is over.

        One UPDATE decides the race, by the clock of the database; no lock is held while
        the work goes on.
        """
        this = self._rows().filter(free(), pk=self.pk)
        most = settings.ISTORE_TASK_ATTEMPTS
        this.filter(fruitless__gte=most).update(
            **self._ending(TaskState.FAILED, F("reason"))
        )
        attempt = type(self).objects.values_list("attempt", flat=True).get(pk=self.pk)
        claimed = this.filter(attempt=attempt).update(
            state=TaskState.RUNNING,
            attempt=attempt + 1,
            fruitless=F("fruitless") + 1,
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
        """Write values of the task and renew the lease.

        Raises LeaseLost when it went to another worker, and Stopped when somebody asked
        for the end; without ``heed_stop`` the next record does, so that what is done is
        counted. Call it in the transaction of what it counts: then neither is there
        without the other.
        """
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
        """Record progress: what was done counts in favour of further attempts."""
        self.record(heed_stop=heed_stop, fruitless=0, **values)

    @contextmanager
    def recording_outcome(self) -> Iterator[None]:
        """Complete when the block ends, stopped or failed as it raises.

        Any other exception gives the task back: it is tried again by the beat, until
        ``ISTORE_TASK_ATTEMPTS`` in a row came to nothing.
        """
        try:
            yield
        except LeaseLost:
            logger.warning("%s was taken over by another worker.", self)
        except Stopped as error:
            self._end(TaskState.STOPPED, str(error))
        except Failed as error:
            self._end(TaskState.FAILED, str(error))
        except Exception as error:
            logger.exception("%s broke off.", self)
            self.release(f"Broke off: {type(error).__name__}.")
        else:
            self._end(TaskState.COMPLETE)

    def release(self, reason: str = "") -> None:
        """Give the task back before its lease ends; the beat rings for the next worker."""
        if self.fruitless >= settings.ISTORE_TASK_ATTEMPTS:
            self._end(TaskState.FAILED, reason)
            return
        self._held().update(
            lease_until=Now(), rung_at=Now(), reason=reason[:300], updated_at=Now()
        )
        self.refresh_from_db()

    def _end(self, state: TaskState, reason: str = "") -> None:
        """Write the outcome, unless the task went to another worker."""
        self._held().update(**self._ending(state, reason[:300]))
        self.refresh_from_db()

    @staticmethod
    def _ending(state: TaskState, reason: Any) -> dict[str, Any]:
        over = {"lease_until": None, "finished_at": Now(), "updated_at": Now()}
        return {"state": state, "reason": reason, **over}

    def _held(self) -> TrackedTaskQuerySet:
        return self._rows().filter(
            pk=self.pk, attempt=self.attempt, state=TaskState.RUNNING
        )

    @classmethod
    def _rows(cls) -> TrackedTaskQuerySet:
        return cls.objects.all()


def requeue_stale() -> int:
    """Send the queue message of every unclaimed task again; return how many were sent.

    Beat calls it: messages get lost, and workers die.
    """
    rung = 0
    for kind in apps.get_models():
        if issubclass(kind, TrackedTask):
            for task in kind.objects.not_notified().order_by("created_at")[
                :RUNG_AT_ONCE
            ]:
                task.ring()
                rung += 1
    return rung
