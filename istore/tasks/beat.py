"""Beat's scheduler, which works under a wrong clock and under one that is set back.

Celery writes an expiry time by beat's clock into a message, and the worker compares it with
its own clock: the messages of a beat whose clock is a day behind all expire. Here the message
carries an expiry in the database's time, and the worker asks the database (``StoreTask``).
Celery also plans by the wall clock. When that clock is set back the plan is made again;
otherwise every entry would wait until the clock has caught up.

Of several beats, on whichever hosts, one sends: the one that holds an advisory lock. The others
ask for it every few seconds, and go on where it stopped.
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
from django.db import DatabaseError, Error, connection

from istore import pulse
from istore.db import clock
from istore.db.advisory_lock import AdvisoryLock
from istore.db.other_servers import DIRECT, session_connection
from istore.telemetry.metrics import BEAT, Moment, Total

HEADER = "ring_until"
TOLERANCE = timedelta(seconds=1)
LEADER = AdvisoryLock("istore.beat")
KEEPALIVE = (
    "SELECT set_config('tcp_keepalives_idle', '10', false), "
    "set_config('tcp_keepalives_interval', '5', false), "
    "set_config('tcp_keepalives_count', '3', false)"
)
ASK_SECONDS = 5.0  # between two questions for the lock

sent_messages = Total(
    "istore_beat_sent_total", "Messages that beat sent.", "task", roles=(BEAT,)
)
last_tick = Moment(
    "istore_beat_last_tick_timestamp_seconds",
    "When beat looked at its plan last.",
    roles=(BEAT,),
)

log = structlog.get_logger()


class StoreTask(Task):
    """A Celery task that skips a message that has expired by the database's clock."""

    abstract = True

    def __call__(self, *args: Any, **options: Any) -> Any:
        until = getattr(self.request, HEADER, None)
        if until is not None and clock.now() > datetime.fromisoformat(until):
            log.info("message expired", task=self.name, until=until)
            return None
        return super().__call__(*args, **options)


class SteadyEntry(ScheduleEntry):
    """An entry that is due if its last run is in the future: then the clock was set back."""

    def is_due(self) -> schedstate:
        last = self.last_run_at
        if last is not None and last > self.default_now() + TOLERANCE:
            return schedstate(True, max(self._until_next(), 0))
        return schedstate(*super().is_due())

    def _until_next(self) -> float:
        assert self.schedule is not None
        return float(self.schedule.is_due(self.default_now()).next)


class SteadyScheduler(Scheduler):
    """Beat's scheduler. It stores no file, because tables decide what is due."""

    Entry = SteadyEntry

    def __init__(self, *args: Any, **options: Any) -> None:
        self.latest = time.time()
        self.leads = False
        super().__init__(*args, **options)

    def tick(self, *args: Any, **options: Any) -> float:
        pulse.beat()
        at = time.time()
        if at < self.latest - TOLERANCE.total_seconds():
            log.warning("clock went back; planning anew", seconds=self.latest - at)
            self._heap = None  # its times are of the old clock
        self.latest = at
        last_tick.set(at)
        if not self._leads():
            return ASK_SECONDS
        return float(min(super().tick(*args, **options), ASK_SECONDS))

    def _leads(self) -> bool:
        """Return whether this beat sends. The question also shows that it still holds the lock."""
        try:
            leads = LEADER.try_take()
            if leads and not self.leads:
                with session_connection().cursor() as cursor:
                    # A host that is gone keeps the lock until the server misses it.
                    cursor.execute(KEEPALIVE)
        except Error:
            connection.close()
            DIRECT.close()
            leads = False
        if leads != self.leads:
            log.info("beat leads" if leads else "another beat leads")
        self.leads = leads
        return leads

    def apply_async(self, entry: ScheduleEntry, *args: Any, **options: Any) -> Any:
        sent = copy.copy(entry)
        sent.options = dict(entry.options or {})
        seconds = sent.options.pop("expires", None)
        if seconds is not None and (until := _until(seconds)):
            sent.options["headers"] = {HEADER: until}
        result = super().apply_async(sent, *args, **options)
        sent_messages.add(str(entry.task))
        return result


def _until(seconds: float) -> str | None:
    """Return when a message expires in the database's time, or None without a database."""
    try:
        return (clock.now() + timedelta(seconds=seconds)).isoformat()
    except DatabaseError:
        connection.close()  # the next message tries another connection
        return None
