"""The scheduler of beat: rings that neither a wrong clock nor one that is put back silences.

Celery writes into a ring when it expires, by the clock of beat, and the worker compares it
with its own: a beat whose clock is a day behind rings for nothing. Here the ring says it in
the database's time, and the worker asks the database (``StoreTask``). What Celery plans by
the wall clock is planned anew once that clock goes back, else all would wait until it has
caught up.
"""

from __future__ import annotations

import copy
import time
from datetime import datetime, timedelta
from typing import Any

import structlog
from celery import Task
from celery.beat import ScheduleEntry, Scheduler
from celery.schedules import schedstate
from django.db import DatabaseError, connection

from istore.db import clock

HEADER = "ring_until"
TOLERANCE = timedelta(seconds=1)

log = structlog.get_logger()


class StoreTask(Task):
    """A task that passes over a ring whose time is over by the database's clock."""

    abstract = True

    def __call__(self, *args: Any, **options: Any) -> Any:
        until = getattr(self.request, HEADER, None)
        if until is not None and clock.now() > datetime.fromisoformat(until):
            log.info("ring expired", task=self.name, until=until)
            return None
        return super().__call__(*args, **options)


class SteadyEntry(ScheduleEntry):
    """An entry that is due when its last run lies in the future: the clock was put back."""

    def is_due(self) -> schedstate:
        if self.last_run_at > self.default_now() + TOLERANCE:
            return schedstate(True, max(self._until_next(), 0))
        return super().is_due()

    def _until_next(self) -> float:
        return float(self.schedule.is_due(self.default_now()).next)


class SteadyScheduler(Scheduler):
    """Beat's scheduler. It keeps no file: what is due is said by tables."""

    Entry = SteadyEntry

    def __init__(self, *args: Any, **options: Any) -> None:
        self.latest = time.time()
        super().__init__(*args, **options)

    def tick(self, *args: Any, **options: Any) -> float:
        at = time.time()
        if at < self.latest - TOLERANCE.total_seconds():
            log.warning("clock went back; planning anew", seconds=self.latest - at)
            self._heap = None  # its times are of the clock as it was
        self.latest = at
        return super().tick(*args, **options)

    def apply_async(self, entry: SteadyEntry, *args: Any, **options: Any) -> Any:
        sent = copy.copy(entry)
        sent.options = dict(entry.options or {})
        seconds = sent.options.pop("expires", None)
        if seconds is not None and (until := _until(seconds)):
            sent.options["headers"] = {HEADER: until}
        result = super().apply_async(sent, *args, **options)
        return result


def _until(seconds: float) -> str | None:
    """When a ring is over, in the database's time; None while that cannot be asked."""
    try:
        return (clock.now() + timedelta(seconds=seconds)).isoformat()
    except DatabaseError:
        connection.close()  # the next ring tries another connection
        return None
