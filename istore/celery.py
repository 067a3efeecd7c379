"""The Celery application. Work is stored in rows; queue messages carry only their ids."""

from __future__ import annotations

import os
from typing import Any

from celery import Celery
from celery.signals import heartbeat_sent, worker_shutting_down

from istore import pulse

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "istore.settings")

app = Celery("istore", task_cls="istore.tasks.beat:StoreTask")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
app.autodiscover_tasks(["istore.tasks"], related_name="periodic")
app.autodiscover_tasks(["istore.telemetry"], related_name="task_runs")


@heartbeat_sent.connect
def _beat(**about: Any) -> None:
    """Tell the probe of a worker that it is connected to the broker and not stuck."""
    pulse.beat()


@worker_shutting_down.connect
def give_tasks_back(**_: Any) -> None:
    """Let the tasks of this worker go back to the queue when it is told to stop."""
    from istore.tasks.tracking import is_stopping

    is_stopping.set()
