"""What the pages of tracked tasks have in common: their list, stop and resume."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.db.models import QuerySet
from django.http import Http404, HttpRequest

from istore.accounts.access import caller_of
from istore.tasks import control
from istore.tasks.paging import BadCursor, TaskQuery
from istore.tasks.tracking import TaskState, TrackedTask

ON_A_PAGE = 25


def list_context(request: HttpRequest, tasks: QuerySet[Any]) -> dict[str, Any]:
    """Return the context of a list of tasks, newest first, by the query string's state."""
    state = request.GET.get("state", "")
    if state not in TaskState.values:
        state = ""
    cursor = request.GET.get("cursor") or None
    try:
        page, following = TaskQuery(state, limit=ON_A_PAGE, cursor=cursor).page(tasks)
    except BadCursor:
        raise Http404 from None
    return {
        "tasks": page,
        "next": following,
        "state": state,
        "states": TaskState.choices,
    }


def stop_task(request: HttpRequest, task: TrackedTask) -> bool:
    """Stop the task, or tell the person that it had ended, and return False."""
    stopped = control.stop(caller_of(request), task)
    if not stopped:
        messages.error(request, "The task has ended already.")
    return stopped


def resume_task(
    request: HttpRequest,
    task: TrackedTask,
    resume: Callable[[object, Any], bool] = control.resume,
) -> None:
    """Resume the task, or tell the person why it cannot be resumed."""
    if not resume(caller_of(request), task):
        messages.error(request, "Only a task that failed or was stopped goes on.")
