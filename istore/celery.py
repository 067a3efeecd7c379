"""The Celery application. Work is stored in rows; queue messages carry only their ids."""

from __future__ import annotations

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "istore.settings")

app = Celery("istore", task_cls="istore.tasks.beat:StoreTask")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
app.autodiscover_tasks(["istore.tasks"], related_name="periodic")
app.autodiscover_tasks(["istore.telemetry"], related_name="task_runs")
