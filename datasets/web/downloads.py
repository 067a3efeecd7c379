"""Downloads: archives of published versions, in one step or with options."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from datasets import lifecycle, summary
from datasets.forms import ArchiveForm
from datasets.models import Dataset, DatasetArchive
from datasets.web.access import address_of, all_errors, version_of, visible_dataset
from datasets.web.head import head
from exports.formats import FORMATS
from exports.models import CONTENT_TYPES, Container
from exports.quick import usual_format, usual_options
from inferences.previews.media import serve
from inferences.web.errors import sentence
from istore.accounts.access import caller_of
from istore.errors import StoreError
from istore.models import Role
from istore.tasks.paging import find_task

TASKS_SHOWN = 50


@login_required
@require_safe
def show_downloads(request: HttpRequest, project_id: str, name: str) -> HttpResponse:
    """Render the archives, newest first, and the form for one with options."""
    dataset = visible_dataset(request, project_id, name)
    context = head(request, dataset, dataset.working, "downloads")
    given = request.GET.get("of")
    number = version_of(dataset, given) if given else dataset.published
    context["archives"] = list(dataset.archives.order_by("-created_at")[:TASKS_SHOWN])
    for task in context["archives"]:
        task.dataset = dataset
    if context["may_edit"] and 0 < number <= dataset.published:
        context |= {
            "of": number,
            "form": ArchiveForm(
                splits=dataset.splitting_of(number).names,
                initial={
                    "format": usual_format(dataset.task_type),
                    "container": Container.ZIP,
                },
            ),
        }
    return render(request, "datasets/downloads.html", context)


def _go(dataset: Dataset) -> HttpResponse:
    return redirect(f"{address_of(dataset)}/downloads")


@login_required
@require_POST
def start(request: HttpRequest, project_id: str, name: str) -> HttpResponse:
    """Write a version in a format with the usual options, and show how far it is.

    Without a version it is the working one, which is published first if it has changed.
    """
    dataset = visible_dataset(request, project_id, name, Role.EDITOR)
    format_ = request.POST.get("format", "")
    if format_ not in FORMATS:
        messages.error(request, "There is no such format.")
        return _go(dataset)
    caller, said = caller_of(request), ""
    try:
        if given := request.POST.get("version"):
            number = version_of(dataset, given)
        elif summary.has_changed(dataset):
            number = lifecycle.publish(caller, dataset).number
            said = f"Version {number} is published, and "
        else:
            number = dataset.published
        lifecycle.archive(
            caller,
            dataset,
            number,
            format=format_,
            container=Container.ZIP,
            options=usual_options(),
        )
    except StoreError as error:
        messages.error(request, sentence(error))
    else:
        text = f"{said}the archive is being written."
        messages.success(request, text[0].upper() + text[1:])
    return _go(dataset)


@login_required
@require_POST
def archive(
    request: HttpRequest, project_id: str, name: str, version: str
) -> HttpResponse:
    """Write a version with the options of the form."""
    dataset = visible_dataset(request, project_id, name, Role.EDITOR)
    number = version_of(dataset, version)
    form = ArchiveForm(request.POST, splits=dataset.splitting_of(number).names)
    if not form.is_valid():
        messages.error(request, all_errors(form))
        return _go(dataset)
    try:
        lifecycle.archive(
            caller_of(request),
            dataset,
            number,
            **form.cleaned_data,
            options=usual_options(),
        )
    except StoreError as error:
        messages.error(request, sentence(error))
    else:
        messages.success(request, "The archive is being written.")
    return _go(dataset)


@login_required
@require_safe
def archive_row(
    request: HttpRequest, project_id: str, name: str, task_id: str
) -> HttpResponse:
    """Render the progress row of an archive, which the page polls."""
    task = _archive(request, project_id, name, task_id)
    context: dict[str, Any] = {
        "task": task,
        "dataset": task.dataset,
        "project": task.dataset.project,
    }
    return render(request, "datasets/_archive.html", context)


@login_required
@require_safe
def archive_file(
    request: HttpRequest, project_id: str, name: str, task_id: str
) -> HttpResponseBase:
    """Send the archive under a descriptive file name."""
    task = _archive(request, project_id, name, task_id)
    if not task.has_archive:
        raise Http404
    return serve(
        request, task.archive_key, CONTENT_TYPES[task.container], task.filename
    )


def _archive(
    request: HttpRequest, project_id: str, name: str, task_id: str
) -> DatasetArchive:
    dataset = visible_dataset(request, project_id, name)
    task = find_task(dataset.archives, task_id)
    task.dataset = dataset
    return task
