"""Pages of scheduled exports: those of a model, and one with its runs and files."""

from __future__ import annotations

import uuid
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import (
    Http404,
    HttpRequest,
    HttpResponse,
    HttpResponseBadRequest,
)
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST

from exports.schedules import destinations, lifecycle
from exports.schedules.forms import ChangeForm, NewForm, filter_text, initial_of
from exports.schedules.models import ExportSchedule
from inferences.models import RegisteredModel
from inferences.web import visible_model
from istore.accounts.access import caller_of
from istore.db.clock import now
from istore.errors import Conflict
from istore.models import Role
from istore.web.pages import render_page

RUNS, FILES = 10, 20


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def schedules(request: HttpRequest, model_id: str) -> HttpResponse:
    """List the schedules of a model with their lags; a POST of an editor creates one."""
    model = visible_model(request, model_id)
    may_edit = caller_of(request).may(Role.EDITOR, model.project)
    form = NewForm(request.POST or None)
    if request.method == "POST":
        if not may_edit:
            raise PermissionDenied
        if form.is_valid():
            try:
                made = lifecycle.create(caller_of(request), model, **form.values)
            except Conflict as error:
                form.add_error(None, str(error))
            else:
                messages.success(request, "The schedule is made.")
                return redirect(
                    "exports:schedule", model.project, model.model_id, made.pk
                )
    found = list(model.export_schedules.all())
    for each in found:
        _tell(each)
    context = {
        "model": model,
        "schedules": found,
        "form": form,
        "may_edit": may_edit,
    }
    status = 400 if form.errors else 200
    return render(request, "exports/schedules.html", context, status=status)


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def schedule(request: HttpRequest, model_id: str, schedule_id: str) -> HttpResponse:
    """Show the progress, runs and files of a schedule; a POST changes it."""
    model = visible_model(request, model_id)
    one = _schedule_of(model, schedule_id)
    may_edit = caller_of(request).may(Role.EDITOR, model.project)
    form = ChangeForm(request.POST or None, initial=initial_of(one))
    if request.method == "POST":
        if not may_edit:
            raise PermissionDenied
        if form.is_valid() and _apply_change(request, one, form):
            messages.success(request, "It counts from the next run on.")
            return redirect("exports:schedule", model.project, model.model_id, one.pk)
    _tell(one)
    runs = list(one.scheduled_exports.order_by("-created_at")[:RUNS])
    whole = one.exported_files.filter(committed_at__isnull=False)
    files = list(whole.order_by("-pk")[:FILES])
    for file in files:
        file.link = destinations.link_to(file)
    context = {
        "model": model,
        "schedule": one,
        "form": form,
        "may_edit": may_edit,
        "runs": runs,
        "files": files,
        "is_running": any(run.is_active for run in runs),
    }
    status = 400 if form.errors else 200
    partial = "exports/_schedule.html"
    return render_page(request, "exports/schedule.html", partial, context, status)


def _apply_change(request: HttpRequest, one: ExportSchedule, form: ChangeForm) -> bool:
    values = form.values
    if "query" not in form.changed_data:
        values.pop("selection")  # kept as asked: the text may express less
    try:
        lifecycle.change(caller_of(request), one, **values)
    except Conflict as error:
        form.add_error(None, str(error))
    except ExportSchedule.DoesNotExist:
        raise Http404 from None
    return not form.errors


@login_required
@require_POST
def run(request: HttpRequest, model_id: str, schedule_id: str) -> HttpResponse:
    """Start a run now."""
    model = visible_model(request, model_id, Role.EDITOR)
    one = _schedule_of(model, schedule_id)
    try:
        lifecycle.start(caller_of(request), one)
        messages.success(request, "A run has begun.")
    except Conflict as error:
        messages.error(request, str(error))
    return redirect("exports:schedule", model.project, model.model_id, one.pk)


@login_required
@require_POST
def delete(request: HttpRequest, model_id: str, schedule_id: str) -> HttpResponse:
    """Delete a schedule; its files stay, and a table of the lake as the form says."""
    model = visible_model(request, model_id, Role.EDITOR)
    one = _schedule_of(model, schedule_id)
    table = lifecycle.table_of(one)
    try:
        fate = lifecycle.TableFate(request.POST.get("table", "keep"))
    except ValueError:
        return HttpResponseBadRequest("table: keep or drop is expected.")
    lifecycle.remove(caller_of(request), one, fate)
    messages.success(request, f"The schedule is ended. {_tell_fate(table, fate)}")
    return redirect("exports:schedules", model.project, model.model_id)


def _tell_fate(table: str | None, fate: lifecycle.TableFate) -> str:
    """Return a sentence about what the schedule has written."""
    if table is None:
        return "Its files stay where they are."
    if fate is lifecycle.TableFate.DROP:
        return f"The table {table} is dropped; its files are being removed."
    return f"The table {table} stays in the lake: ask it by SQL as before."


def _schedule_of(model: RegisteredModel, schedule_id: str) -> ExportSchedule:
    try:
        found = model.export_schedules.filter(pk=uuid.UUID(schedule_id)).first()
    except ValueError:
        found = None
    if found is None:
        raise Http404
    found.model = model
    return found


def _tell(one: ExportSchedule) -> None:
    """Set the attributes that the templates show beside the columns."""
    table = lifecycle.table_of(one)
    seen: dict[str, Any] = {
        "where": table or destinations.title(one.destination),
        "table": table,
        "written": filter_text(one),
        "waiting": min(lifecycle.waiting(one), lifecycle.WAITING_MOST + 1),
        "waiting_most": lifecycle.WAITING_MOST,
        "lag": lifecycle.lag_of(one, now()),
    }
    for name, value in seen.items():
        setattr(one, name, value)
