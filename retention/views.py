"""The retention pages of a model: its policy, a preview, and its tasks."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.views.decorators.http import (
    require_http_methods,
    require_POST,
    require_safe,
)

from inferences.models import RegisteredModel
from inferences.web import visible_model
from istore.accounts.access import caller_of
from istore.errors import Conflict
from istore.models import Role
from istore.tasks import pages
from istore.tasks.pages import list_context
from istore.tasks.paging import find_task
from istore.web.pages import render_page
from retention import policies
from retention.forms import PolicyForm
from retention.models import RetentionPolicy
from retention.previewing import Preview, preview

LATEST = 5


def _policy_of(model: RegisteredModel) -> RetentionPolicy | None:
    policy = RetentionPolicy.objects.filter(model=model).first()
    if policy:
        policy.model = model
    return policy


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def policy(request: HttpRequest, model_id: str) -> HttpResponse:
    """Show the policy in words and as a form; a POST saves or previews it."""
    model = visible_model(request, model_id)
    may_edit = caller_of(request).may(Role.EDITOR, model.project)
    present = _policy_of(model)
    only_previewed = "preview" in request.POST  # from a browser without JavaScript
    if request.method == "POST":
        if not may_edit:
            raise PermissionDenied
        form = PolicyForm(request.POST, policy=present)
        if form.is_valid() and not only_previewed:
            messages.success(request, _save(request, model, present, form))
            return redirect("retention:policy", model.project, model.model_id)
    else:
        form = PolicyForm(policy=present)
    context = {
        "model": model,
        "policy": present,
        "form": form,
        "may_edit": may_edit,
        "preview": _preview(model, form) if only_previewed else None,
        "tasks": model.retention_tasks.newest_first()[:LATEST],
    }
    status = 400 if form.errors else 200
    return render(request, "retention/policy.html", context, status=status)


def _save(
    request: HttpRequest,
    model: RegisteredModel,
    present: RetentionPolicy | None,
    form: PolicyForm,
) -> str:
    """Apply the form to the policy, and return the message for the person."""
    actor, terms = caller_of(request), form.terms
    if terms is None:
        if present:
            policies.delete_policy(actor, present)
        return "Everything is kept from now on."
    if present and policies.change_policy(actor, present, **terms):
        return "The policy is changed, and counts at once."
    try:
        policies.create_policy(actor, model, **terms)
    except Conflict:
        # Another person created one at the same time: the last save wins.
        policies.change_policy(actor, model.retention_policy, **terms)
    return "The policy is saved, and counts at once."


@login_required
@require_safe
def preview_policy(request: HttpRequest, model_id: str) -> HttpResponse:
    """Show what the policy in the query string would remove now: a partial of the page."""
    model = visible_model(request, model_id)
    form = PolicyForm(request.GET or QueryDict(), policy=_policy_of(model))
    context = {"model": model, "form": form, "preview": _preview(model, form)}
    return render(request, "retention/_preview.html", context)


def _preview(model: RegisteredModel, form: PolicyForm) -> Preview | None:
    if not form.is_valid() or form.terms is None:
        return None
    return preview(model, form.terms)


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def tasks(request: HttpRequest, model_id: str) -> HttpResponse:
    """List the tasks of a model, newest first; a POST starts one."""
    if request.method == "POST":
        return _start(request, model_id)
    model = visible_model(request, model_id)
    context = {"model": model, **list_context(request, model.retention_tasks.all())}
    return render(request, "retention/tasks.html", context)


def _start(request: HttpRequest, model_id: str) -> HttpResponse:
    model = visible_model(request, model_id, Role.EDITOR)
    present = _policy_of(model)
    if present is None:
        messages.error(request, "There is no policy to carry out.")
        return redirect("retention:policy", model.project, model.model_id)
    dry_run = request.POST.get("dry_run") == "true"
    try:
        task = policies.open_task(caller_of(request), present, dry_run=dry_run)
    except Conflict as error:
        messages.error(request, str(error))
        return redirect("retention:policy", model.project, model.model_id)
    return redirect("retention:task", model.project, model.model_id, task.pk)


@login_required
@require_safe
def task(request: HttpRequest, model_id: str, task_id: str) -> HttpResponse:
    """Show the progress of a task, and in the end its report. htmx requests a partial."""
    model = visible_model(request, model_id)
    found = find_task(model.retention_tasks, task_id)
    context: dict[str, Any] = {"model": model, "task": found}
    partial = "retention/_task.html"
    if request.GET.get("part") == "row":
        partial = "retention/_row.html"
    context["may_edit"] = caller_of(request).may(Role.EDITOR, model.project)
    return render_page(request, "retention/task.html", partial, context)


@login_required
@require_POST
def stop_task(request: HttpRequest, model_id: str, task_id: str) -> HttpResponse:
    """Stop a task, and show its page."""
    model = visible_model(request, model_id, Role.EDITOR)
    pages.stop_task(request, find_task(model.retention_tasks, task_id))
    return redirect("retention:task", model.project, model.model_id, task_id)


@login_required
@require_POST
def resume_task(request: HttpRequest, model_id: str, task_id: str) -> HttpResponse:
    """Resume a task, and show its page."""
    model = visible_model(request, model_id, Role.EDITOR)
    try:
        pages.resume_task(
            request, find_task(model.retention_tasks, task_id), policies.resume_task
        )
    except Conflict as error:
        messages.error(request, str(error))
    return redirect("retention:task", model.project, model.model_id, task_id)
