from __future__ import annotations

from celery import shared_task

from services import session_reaper


@shared_task
def tend_sessions() -> None:
    session_reaper.tend()
