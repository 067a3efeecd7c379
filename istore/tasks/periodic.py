"""Periodic work of the project itself. The tasks keep the names they had in ``istore.tasks``:
messages of the release before name them so."""

from __future__ import annotations

from celery import shared_task

from istore import freshness
from istore.accounts import login_throttle
from istore.api import idempotency
from istore.checks import verification
from istore.tasks import tracking


@shared_task(name="istore.tasks.forget_old_calls")
def forget_old_calls() -> None:
    idempotency.forget_old_calls()
    login_throttle.forget_old_failures()
    # Gives up proxies that died since the last change that somebody waited for, so that
    # the changes of tasks are not kept for them.
    freshness.wait_until_heard()


@shared_task(name="istore.tasks.ring_again")
def ring_again() -> None:
    tracking.requeue_stale()


@shared_task(name="istore.tasks.collect")
def collect() -> None:
    """Remove what nobody names and nobody will: see ``inferences.maintenance.orphan_blobs``."""
    verification.run(verification.COLLECT)


@shared_task(name="istore.tasks.verify")
def verify(by: str = "") -> None:
    """Look at everything and repair nothing; the operator page shows the result."""
    verification.run(verification.VERIFY, by=by)
