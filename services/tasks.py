from __future__ import annotations

from celery import shared_task

from services import tending


@shared_task
def tend_sessions() -> None:
    tending.tend()
