"""The operator page: panels on the state of the store, registered by the apps.

A panel is a template and a function that fills it. A panel whose function raises, because
something it needs is unavailable, shows that; the other panels are not affected.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.apps import apps
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.db.models import Count
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.module_loading import import_string
from django.views.decorators.http import require_POST, require_safe
from kombu.exceptions import OperationalError as BrokerError

from istore.accounts.access import Caller, caller_of
from istore.blobs import request_counts
from istore.checks import health, proxy_metrics, verification
from istore.hooks import Hook
from istore.models import VerifyRun
from istore.tasks.tracking import TaskState, TrackedTask

FAILED_SHOWN = 5

log = logging.getLogger(__name__)

Fill = Callable[..., dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Panel:
    """A panel of the operator page: a template, and a function that fills it.

    A panel that names models or records is scoped: ``fill`` then gets the caller, and shows no
    more than ``sees_every_model`` and the caller's own projects allow.
    """

    template: str
    fill: Fill
    is_scoped: bool = False


panels: Hook[Panel] = Hook()  # by title


def sees_every_model(caller: Caller | None) -> bool:
    """Return whether the caller may see data of all projects; True for None, the store itself.

    Staff operate the store, but need a permission of its own to see what is in it.
    """
    if caller is None:
        return True
    user = caller.user
    return user is not None and (
        user.is_superuser or user.has_perm("inferences.view_registeredmodel")
    )


@dataclass(frozen=True, slots=True)
class Filled:
    """A panel with its template context, or the reason why it is empty."""

    title: str
    template: str
    context: dict[str, Any]
    problem: str = ""


def _fill(title: str, panel: Panel, caller: Caller) -> Filled:
    try:
        context = panel.fill(*([caller] if panel.is_scoped else []))
        return Filled(title, panel.template, context)
    except Exception as error:  # the page must work during any outage
        log.warning("The panel %s is empty: %s", title, error)
        problem = f"It does not answer: {type(error).__name__}."
        return Filled(title, panel.template, {}, problem)


def _operator(request: HttpRequest) -> None:
    if not request.user.is_staff:
        raise PermissionDenied


@login_required
@require_safe
def page(request: HttpRequest) -> HttpResponse:
    """Show the operator page to staff."""
    _operator(request)
    context = {
        "panels": [_fill(*each, caller_of(request)) for each in panels.items()],
        "unavailable": health.failing(health.needed),
        "worrying": health.failing(health.watched),
    }
    return render(request, "operations/page.html", context)


@login_required
@require_POST
def verify_now(request: HttpRequest) -> HttpResponse:
    """Queue a run of all checks by a worker. It repairs nothing."""
    _operator(request)
    from istore.tasks.periodic import verify

    try:
        verify.delay(str(caller_of(request)))
    except BrokerError:
        messages.error(request, "The broker does not answer. manage.py verify does.")
    else:
        messages.success(request, "A worker verifies now. Look again in a while.")
    return redirect("operations")


def object_store_requests() -> dict[str, Any]:
    """Return how many requests were sent to object stores, for their panel."""
    return {"requests": request_counts.totals()}


def last_runs(caller: Caller | None = None) -> dict[str, Any]:
    """Return the last runs of the checks, for their panel."""
    runs = VerifyRun.objects.filter(finished_at__isnull=False)
    return {
        "verify": runs.filter(kind=verification.VERIFY).first(),
        "collect": runs.filter(kind=verification.COLLECT).first(),
        "running": VerifyRun.objects.filter(finished_at=None).first(),
        "checks": list(verification.checks),
        "names": sees_every_model(caller),
    }


def tasks(caller: Caller | None = None) -> dict[str, Any]:
    """Return the number of tracked tasks by kind and state, and the last that failed."""
    kinds: list[tuple[str, dict[str, int]]] = []
    failed: list[TrackedTask] = []
    for kind in apps.get_models():
        if not issubclass(kind, TrackedTask):
            continue
        rows = kind.objects.order_by().values_list("state").annotate(Count("pk"))
        kinds.append((str(kind._meta.verbose_name_plural), dict(rows)))
        late = kind.objects.filter(state=TaskState.FAILED).order_by("-updated_at")
        failed += late[:FAILED_SHOWN]
    failed.sort(key=lambda task: task.updated_at, reverse=True)
    return {
        "states": list(TaskState),
        "kinds": [
            (name, [counts.get(state, 0) for state in TaskState])
            for name, counts in kinds
        ],
        "failed": failed[:FAILED_SHOWN] if sees_every_model(caller) else [],
        "names": sees_every_model(caller),
    }


panels.register("Verify", Panel("operations/_verify.html", last_runs, is_scoped=True))
panels.register("Tasks", Panel("operations/_tasks.html", tasks, is_scoped=True))
panels.register("Proxy and spool", Panel("operations/_proxy.html", proxy_metrics.read))
if any(
    getattr(import_string(each["BACKEND"]), "costs_by_request", False)
    for each in settings.STORAGES.values()
):
    panels.register(
        "Requests to object stores",
        Panel("operations/_object_store.html", object_store_requests),
    )
