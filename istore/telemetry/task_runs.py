"""Tasks of workers and ticks of beat: how long they took, what came of them, and how many run.

Celery's signals tell of its tasks by name, of which there are a few dozen. A tracked task says what
became of its work itself (``istore.tasks.tracking``).
"""

from __future__ import annotations

import threading
import time
from typing import Any

from celery import signals

from istore.tasks.beat import last_tick
from istore.tasks.tracking import TaskState, outcomes
from istore.telemetry import metrics, request_ids, startup, tracing
from istore.telemetry.metrics import MINUTES, WORKER, Distribution, Moment
from istore.telemetry.store_figures import task_kinds

ENDED = (TaskState.COMPLETE, TaskState.FAILED, TaskState.STOPPED)
DONE, BROKE_OFF = "done", "broke-off"

durations = Distribution(
    "istore_task_duration_seconds",
    "Runs of tasks by a worker, tracked ones and others.",
    *("task", "outcome"),
    roles=(WORKER,),
    bounds=MINUTES,
)
running = Moment("istore_tasks_running", "Tasks that a worker runs.", roles=(WORKER,))
running.set(0)

_begun: dict[str, float] = {}  # when each running task began, by its id
_local = threading.local()


@signals.worker_ready.connect(weak=False)
def _begin_worker(**_: Any) -> None:
    for kind in task_kinds():
        for outcome in ENDED:
            outcomes.add(kind, str(outcome), by=0)
    startup.begin(metrics.WORKER)


@signals.beat_init.connect(weak=False)
def _begin_beat(**_: Any) -> None:
    last_tick.set(time.time())
    startup.begin(metrics.BEAT)


@signals.before_task_publish.connect(weak=False)
def _pass_on(headers: dict[str, Any] | None = None, **_: Any) -> None:
    """Give the message the id of the request, or of the task, that sends it."""
    if headers is not None and (request_id := request_ids.current()):
        headers[request_ids.TASK_HEADER] = request_id


@signals.task_prerun.connect(weak=False)
def _note_begin(task_id: str, task: Any, **_: Any) -> None:
    _begun[task_id] = time.monotonic()
    running.add()
    # A tick of beat has no request: its lines are joined by the id of the message.
    given = getattr(task.request, request_ids.TASK_HEADER, None)
    request_ids.begin(given if isinstance(given, str) else task_id)
    if tracing.is_on:
        _local.span = tracing.begin_span(f"task {task.name}")


@signals.task_postrun.connect(weak=False)
def _note_end(task_id: str, task: Any, state: str | None = None, **_: Any) -> None:
    began_at = _begun.pop(task_id, None)
    outcome = BROKE_OFF if state == "FAILURE" else DONE
    if began_at is not None:
        running.add(by=-1)
        durations.observe(time.monotonic() - began_at, task.name, outcome)
    span, _local.span = getattr(_local, "span", None), None
    if span is not None:
        tracing.end_span(span, failed=outcome == BROKE_OFF)
    request_ids.end()
