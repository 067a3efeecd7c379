"""Pages of exports: those of a model, a new one, and one in progress."""

from __future__ import annotations

from functools import partial
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import ValidationError
from django.http import (
    Http404,
    HttpRequest,
    HttpResponse,
    HttpResponseBase,
    StreamingHttpResponse,
)
from django.shortcuts import redirect, render
from django.utils.http import content_disposition_header
from django.views.decorators.http import (
    require_http_methods,
    require_POST,
    require_safe,
)

from exports import quick, task_lifecycle
from exports.formats import FORMATS
from exports.forms import Chosen, NewExportForm
from exports.models import CONTENT_TYPES, ExportTask
from inferences.previews.media import part_of, serve
from inferences.web import visible_model
from inferences.web.errors import sentence
from istore import blobs
from istore.accounts.access import caller_of
from istore.errors import StoreError
from istore.models import Role
from istore.tasks.pages import list_context, resume_task, stop_task
from istore.tasks.paging import find_task
from istore.web.pages import render_page

IDS_SHOWN = 12


@login_required
@require_safe
def tasks(request: HttpRequest, model_id: str) -> HttpResponse:
    """List the exports of a model, newest first."""
    model = visible_model(request, model_id)
    context = {
        "model": model,
        "may_edit": caller_of(request).may(Role.EDITOR, model.project),
        **list_context(request, model.export_tasks.all()),
    }
    return render(request, "exports/tasks.html", context)


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def new(request: HttpRequest, model_id: str) -> HttpResponse:
    """Show the selection and the form; a POST with a format starts the export.

    A list page first posts its selection here, without a format.
    """
    model = visible_model(request, model_id, Role.EDITOR)
    given = request.POST if request.method == "POST" else request.GET
    form = NewExportForm(request.POST if "format" in request.POST else None)
    count, problem, status = None, "", 200
    chosen = Chosen()
    try:
        chosen = Chosen.read(given)
        count = task_lifecycle.expected(model, chosen.selection())
        if form.is_bound and form.is_valid():
            wanted = form.wanted(chosen)
            task = task_lifecycle.open_task(caller_of(request), model, wanted)
            return redirect("exports:task", model.project, model.model_id, task.pk)
    except ValidationError as error:
        problem, status = " ".join(error.messages), 400
    except StoreError as error:
        problem, status = str(error), error.status
    context = {
        "model": model,
        "form": form,
        "chosen": chosen,
        "count": count,
        "problem": problem,
        "shown_ids": chosen.ids[:IDS_SHOWN],
        "more_ids": max(0, len(chosen.ids) - IDS_SHOWN),
    }
    if form.errors:
        status = 400
    return render(request, "exports/new.html", context, status=status)


@login_required
@require_POST
def start(request: HttpRequest, model_id: str) -> HttpResponse:
    """Export a selection in a format with the usual options, and show how far it is."""
    model = visible_model(request, model_id, Role.EDITOR)
    given = request.POST.copy()
    format_ = given.pop("format", [""])[-1]
    try:
        chosen = Chosen.read(given)
        wanted = quick.wanted(format_, chosen.selection(), chosen.asked())
        task = task_lifecycle.open_task(caller_of(request), model, wanted)
    except ValidationError as error:
        messages.error(request, " ".join(error.messages))
    except ValueError as error:
        messages.error(request, str(error))
    except StoreError as error:
        messages.error(request, sentence(error))
    else:
        return redirect("exports:task", model.project, model.model_id, task.pk)
    return redirect("exports:list", model.project, model.model_id)


@login_required
@require_safe
def task(request: HttpRequest, model_id: str, task_id: str) -> HttpResponse:
    """Show the progress of an export, and in the end its report. htmx requests a partial."""
    model = visible_model(request, model_id)
    found = find_task(model.export_tasks, task_id)
    context: dict[str, Any] = {
        "model": model,
        "task": found,
        "format": FORMATS.get(found.format),
        "may_edit": caller_of(request).may(Role.EDITOR, model.project),
    }
    part = "exports/_task.html"
    if request.GET.get("part") == "row":
        part = "exports/_row.html"
    return render_page(request, "exports/task.html", part, context)


@login_required
@require_safe
def download(request: HttpRequest, model_id: str, task_id: str) -> HttpResponseBase:
    """Send the archive under a descriptive file name."""
    found = _with_archive(request, model_id, task_id)
    kind = CONTENT_TYPES[found.container]
    return serve(request, found.archive_key, kind, found.filename)


@login_required
@require_safe
def manifest(request: HttpRequest, model_id: str, task_id: str) -> HttpResponseBase:
    """Send the manifest, read from its place in the archive."""
    found = _with_archive(request, model_id, task_id)
    first, size = found.receipt["manifest_at"]
    try:
        file = blobs.open_blob(found.archive_key)
    except FileNotFoundError:
        raise Http404 from None
    content = part_of(file, first, first + size - 1)
    response = StreamingHttpResponse(content, content_type="application/json")
    response["Content-Length"] = size
    name = f"{found.filename}-manifest.json"
    response["Content-Disposition"] = content_disposition_header(False, name) or ""
    return response


def _with_archive(request: HttpRequest, model_id: str, task_id: str) -> ExportTask:
    found = find_task(visible_model(request, model_id).export_tasks, task_id)
    if not found.has_archive:
        raise Http404
    return found


@login_required
@require_POST
def stop(request: HttpRequest, model_id: str, task_id: str) -> HttpResponse:
    return _done(request, model_id, task_id, stop_task)


@login_required
@require_POST
def retry(request: HttpRequest, model_id: str, task_id: str) -> HttpResponse:
    again = partial(resume_task, resume=task_lifecycle.retry)
    return _done(request, model_id, task_id, again)


def _done(request: HttpRequest, model_id: str, task_id: str, act: Any) -> HttpResponse:
    model = visible_model(request, model_id, Role.EDITOR)
    try:
        act(request, find_task(model.export_tasks, task_id))
    except StoreError as error:
        messages.error(request, str(error))
    return redirect("exports:task", model.project, model.model_id, task_id)
