from __future__ import annotations

from contextlib import closing

from celery import shared_task

from ingest import reconciling
from ingest.stream import EventStream


@shared_task
def reconcile() -> None:
    with closing(EventStream()) as stream:
        reconciling.reconcile(stream)
