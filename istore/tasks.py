from __future__ import annotations

from celery import shared_task

from istore import freshness, idempotency, login_throttle, tracking, verification


@shared_task
def forget_old_calls() -> None:
    idempotency.forget_old_calls()
    login_throttle.forget_old_failures()
    # Gives up proxies that died since the last change that somebody waited for, so that
    # the changes of tasks are not kept for them.
    freshness.wait_until_heard()


@shared_task
def ring_again() -> None:
    tracking.ring_again()


@shared_task
def collect() -> None:
    """Remove what nobody names and nobody will: see ``inferences.collecting``."""
    verification.run(verification.COLLECT)


@shared_task
def verify(by: str = "") -> None:
    """Look at everything and repair nothing; the operator page shows the result."""
    verification.run(verification.VERIFY, by=by)
