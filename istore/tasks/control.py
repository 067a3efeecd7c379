"""Stop and resume tracked tasks on behalf of a caller. Each act is audited.

API, pages and admin site call these functions for every kind of task.
"""

from __future__ import annotations

from django.db import transaction

from istore.tasks.tracking import TrackedTask


@transaction.atomic
def stop(actor: object, task: TrackedTask) -> bool:
    """Stop the task where it is; what is done stays done. Return False if it had ended."""
    stopped = task.stop()
    if stopped:
        task.audit(actor, "stop")
    return stopped


@transaction.atomic
def resume(actor: object, task: TrackedTask) -> bool:
    """Let a stopped or failed task go on. Return False if it is in another state.

    Raises ``IntegrityError`` if another active task is in the way.
    """
    resumed = task.resume()
    if resumed:
        task.audit(actor, task.resume_act)
    return resumed
