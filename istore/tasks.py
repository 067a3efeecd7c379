from __future__ import annotations

from celery import shared_task

from istore import idempotency, tracking


@shared_task
def forget_old_calls() -> None:
    idempotency.forget_old_calls()


@shared_task
def ring_again() -> None:
    tracking.ring_again()
