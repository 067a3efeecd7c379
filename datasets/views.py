"""The dataset pages: the list of a project, one dataset, and adding inferences to one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import ValidationError
from django.db import OperationalError
from django.db.models import Count
from django.forms import Form
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import (
    require_http_methods,
    require_POST,
    require_safe,
)

from datasets import lifecycle, listing, summary
from datasets.forms import AddForm, ArchiveForm, NewDatasetForm, SplittingForm
from datasets.models import Dataset, DatasetArchive, DatasetEntry
from exports import task_lifecycle
from exports.forms import Chosen
from exports.models import CONTENT_TYPES
from inferences.models import InferenceKey
from inferences.previews.media import serve, serve_preview
from inferences.web import visible_model
from inferences.web.errors import sentence
from inferences.web.undo import with_undo
from istore.accounts.access import Caller, caller_of
from istore.db.statement_timeout import statement_timeout
from istore.errors import StoreError
from istore.models import Project, Role
from istore.tasks.pages import stop_task
from istore.tasks.paging import find_task
from istore.web.pages import htmx_of, render_page, visible_project

THUMBNAILS, ON_A_PAGE, TASKS_SHOWN, LABELS_SHOWN = 4, 48, 10, 20


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def datasets(request: HttpRequest, project_id: str) -> HttpResponse:
    """Render the datasets of a project; POST creates one."""
    project = visible_project(request, project_id)
    may_edit = caller_of(request).may(Role.EDITOR, project)
    form = NewDatasetForm(request.POST or None)
    if request.method == "POST":
        project = visible_project(request, project_id, Role.EDITOR)
        if form.is_valid():
            try:
                made = lifecycle.create(
                    caller_of(request), project, **form.cleaned_data
                )
            except StoreError as error:
                form.add_error("name", sentence(error))
            else:
                return redirect("datasets:dataset", project.project_id, made.name)
    found = list(Dataset.objects.live().filter(project=project))
    counted = dict(
        DatasetEntry.objects.current()
        .filter(dataset__in=found)
        .values_list("dataset")
        .annotate(n=Count("pk"))
    )
    cards = [
        {
            "dataset": each,
            "count": counted.get(each.pk, 0),
            "first": list(
                each.entries.current().exclude(blob=None).order_by("pk")[:THUMBNAILS]
            ),
            "latest": each.versions.first(),
        }
        for each in found
    ]
    context = {"project": project, "cards": cards, "form": form, "may_edit": may_edit}
    status = 400 if form.errors else 200
    return render(request, "datasets/datasets.html", context, status=status)


@login_required
@require_safe
def dataset(request: HttpRequest, project_id: str, name: str) -> HttpResponse:
    """Render a version with its entries, and the actions of the dataset."""
    found = _dataset(request, project_id, name)
    version = _version(found, request.GET.get("version", "working"))
    after = request.GET.get("after", "")
    label = request.GET.get("label") or None
    entries, following = listing.entries_page(
        found,
        version,
        limit=ON_A_PAGE,
        after=int(after) if after.isdecimal() and len(after) < 19 else 0,
        label=label,
    )
    splitting = found.splitting_of(version)
    for entry in entries:
        entry.split = splitting.split_of(entry.data_hash, entry.metadata)
        entry.still_there = False
    _note_sources(found.project, entries)
    context: dict[str, Any] = {
        "project": found.project,
        "dataset": found,
        "version": version,
        "is_working": version == found.working,
        "versions": list(found.versions.all()),
        "entries": entries,
        "next": following,
        "label": label,
        "may_edit": caller_of(request).may(Role.EDITOR, found.project),
        "link": _link(request),
    }
    if following or after:
        context["is_part"] = True
    part = "datasets/_entries.html"
    if not (htmx_of(request) and request.GET.get("part") == "entries"):
        context |= {
            "told": _describe(found, version),
            "adding": _latest(found.adding_tasks.select_related("model")),
            "archives": _latest(found.archives),
            "splitting_form": SplittingForm.of(found),
            "archive_form": ArchiveForm(
                splits=found.splitting_of(version).names,
                initial={"format": "chariot", "container": "zip"},
            ),
            "has_changed": not found.published or summary.has_changed(found),
        }
        for task in context["archives"]:
            task.dataset = found
        return render(request, "datasets/dataset.html", context)
    return render_page(request, "datasets/dataset.html", part, context)


def _link(request: HttpRequest) -> str:
    """Return the query string of this page without its cursor, for links to other pages."""
    given = request.GET.copy()
    for name in ("after", "part"):
        given.pop(name, None)
    return given.urlencode()


def _note_sources(project: Project, entries: list[DatasetEntry]) -> None:
    """Set on each entry whether the inference that it was copied from still exists."""
    names = [each.inference_id for each in entries]
    keys = InferenceKey.objects.filter(
        registered_model__project=project,
        registered_model__model_id__in={each.model_id for each in entries},
        inference_id__in=names,
        removed_at=None,
        row_id__isnull=False,
    )
    there = set(keys.values_list("registered_model__model_id", "inference_id"))
    for entry in entries:
        entry.still_there = (entry.model_id, entry.inference_id) in there


def _describe(found: Dataset, version: int) -> dict[str, Any]:
    """Return the counts of a version; {} if counting takes longer than the timeout."""
    try:
        if version != found.working:
            counted = found.versions.get(number=version).told
        else:
            with statement_timeout():
                counted = summary.of_version(found, version)
    except OperationalError:
        return {}
    return {
        **counted,
        "bars": bars(counted["labels"]),
        "split_bars": bars(counted["splits"]),
        "more_labels": max(0, len(counted["labels"]) - LABELS_SHOWN),
    }


def bars(counts: dict[str, int]) -> list[tuple[str, int, float]]:
    """Return the first counts, each with its percentage of the largest."""
    largest = max(counts.values(), default=0) or 1
    first = list(counts.items())[:LABELS_SHOWN]
    return [(name, n, round(100 * n / largest, 2)) for name, n in first]


def _latest(tasks: Any) -> list[Any]:
    return list(tasks.order_by("-created_at")[:TASKS_SHOWN])


@login_required
@require_safe
def picture(
    request: HttpRequest, project_id: str, name: str, entry_id: str
) -> HttpResponse:
    """Return a preview of an entry's input."""
    found = _dataset(request, project_id, name)
    entry = found.entries.select_related("blob").filter(pk=int(entry_id)).first()
    if entry is None or entry.blob is None:
        raise Http404
    return serve_preview(request, entry.blob.storage_key)


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def add(request: HttpRequest, model_id: str) -> HttpResponse:
    """Render the form to add a selection to a dataset; POST with a dataset adds it.

    A list of inferences first posts its selection here, without a dataset.
    """
    model = visible_model(request, model_id, Role.EDITOR)
    given = request.POST if request.method == "POST" else request.GET
    live = Dataset.objects.live().filter(
        project=model.project, task_type__in=["", model.task_type]
    )
    is_sent = "dataset" in request.POST
    form = AddForm(
        request.POST if is_sent else None,
        names=list(live.values_list("name", flat=True)),
    )
    chosen, count, problem = Chosen(), None, ""
    try:
        chosen = Chosen.read(given)
        selection = chosen.selection()
        count = task_lifecycle.expected(model, selection)
        if is_sent and form.is_valid():
            values, caller = form.cleaned_data, caller_of(request)
            into = values["dataset"] or values["new_name"]
            target = live.filter(name=into).first()
            if target is None:
                target = lifecycle.create(caller, model.project, into)
            lifecycle.add(
                caller,
                target,
                model,
                selection,
                chosen.asked(),
                skip_duplicates=values["skip_duplicates"],
            )
            return redirect("datasets:dataset", model.project.project_id, target.name)
    except ValidationError as error:
        problem = " ".join(error.messages)
    except StoreError as error:
        problem = sentence(error)
    context = {
        "model": model,
        "form": form,
        "chosen": chosen,
        "count": count,
        "problem": problem,
    }
    status = 400 if problem or form.errors else 200
    return render(request, "datasets/add.html", context, status=status)


def _act(
    request: HttpRequest,
    project_id: str,
    name: str,
    do: Callable[[Caller, Dataset], object],
    message: str,
) -> HttpResponse:
    """Run an action, show its message, and redirect to the dataset; show a conflict instead."""
    found = _dataset(request, project_id, name, Role.EDITOR)
    try:
        do(caller_of(request), found)
    except StoreError as error:
        messages.error(request, sentence(error))
    else:
        messages.success(request, message)
    return redirect("datasets:dataset", project_id, name)


def _all_errors(form: Form) -> str:
    return " ".join(str(error) for errors in form.errors.values() for error in errors)


@login_required
@require_POST
def publish(request: HttpRequest, project_id: str, name: str) -> HttpResponse:
    """Publish the working version."""
    note = request.POST.get("note", "")[:1000].replace("\0", "")
    return _act(
        request,
        project_id,
        name,
        lambda caller, found: lifecycle.publish(caller, found, note),
        "The version is published and will not change.",
    )


@login_required
@require_POST
def split(request: HttpRequest, project_id: str, name: str) -> HttpResponse:
    """Set how the working version is split."""
    form = SplittingForm(request.POST)
    if not form.is_valid():
        messages.error(request, _all_errors(form))
        return redirect("datasets:dataset", project_id, name)
    splitting = form.cleaned_data["splitting"]
    return _act(
        request,
        project_id,
        name,
        lambda caller, found: lifecycle.change(caller, found, splitting=splitting),
        "The working version is split.",
    )


@login_required
@require_POST
def remove(request: HttpRequest, project_id: str, name: str) -> HttpResponse:
    """Remove entries from the working version, with an undo for those of published versions."""
    found, ids = _dataset(request, project_id, name, Role.EDITOR), _entry_ids(request)
    chosen = found.entries.current().filter(pk__in=ids)
    old = chosen.filter(first_version__lt=found.working)  # others cannot be put back
    kept = list(old.values_list("pk", flat=True))
    try:
        count = lifecycle.remove_entries(caller_of(request), found, ids)
    except StoreError as error:
        messages.error(request, sentence(error))
        return redirect("datasets:dataset", project_id, name)
    said = f"{_entries(count)} taken out."
    if kept:
        if len(kept) < count:
            said += f" {_entries(count - len(kept))} of no published version for good."
        address = reverse("datasets:put-back", args=[project_id, name])
        fields = [("entry", str(each)) for each in kept]
        said = with_undo(request, said, address, fields)
    messages.success(request, said)
    return redirect("datasets:dataset", project_id, name)


@login_required
@require_POST
def put_back(request: HttpRequest, project_id: str, name: str) -> HttpResponse:
    """Undo the removal of entries from the working version."""
    found = _dataset(request, project_id, name, Role.EDITOR)
    try:
        count = lifecycle.put_back(caller_of(request), found, _entry_ids(request))
    except StoreError as error:
        messages.error(request, sentence(error))
        return redirect("datasets:dataset", project_id, name)
    if count:
        messages.success(request, f"{_entries(count)} put back.")
    else:
        messages.error(request, "Nothing is put back: the dataset changed meanwhile.")
    return redirect("datasets:dataset", project_id, name)


def _entry_ids(request: HttpRequest) -> list[int]:
    given = request.POST.getlist("entry")
    return [int(each) for each in given if each.isdecimal() and len(each) < 19]


def _entries(count: int) -> str:
    return f"{count:,} entr{'y' if count == 1 else 'ies'}"


@login_required
@require_POST
def delete(request: HttpRequest, project_id: str, name: str) -> HttpResponse:
    found = _dataset(request, project_id, name, Role.EDITOR)
    if request.POST.get("name") != found.name:
        messages.error(request, "Type the name of the dataset to delete it.")
        return redirect("datasets:dataset", project_id, name)
    lifecycle.delete(caller_of(request), found)
    messages.success(request, f"{found.name} is deleted.")
    return redirect("datasets:datasets", project_id)


@login_required
@require_POST
def archive(
    request: HttpRequest, project_id: str, name: str, version: str
) -> HttpResponse:
    found = _dataset(request, project_id, name, Role.EDITOR)
    number = _version(found, version)
    form = ArchiveForm(request.POST, splits=found.splitting_of(number).names)
    if not form.is_valid():
        messages.error(request, _all_errors(form))
        return redirect("datasets:dataset", project_id, name)
    flags = ("include_inferences_as_annotations", "include_custom_metadata")
    return _act(
        request,
        project_id,
        name,
        lambda caller, each: lifecycle.archive(
            caller,
            each,
            number,
            **form.cleaned_data,
            options=dict.fromkeys(flags, True),
        ),
        "The archive is being written.",
    )


@login_required
@require_safe
def archive_row(
    request: HttpRequest, project_id: str, name: str, task_id: str
) -> HttpResponse:
    """Render the progress row of an archive, which the page polls."""
    task = _archive(request, project_id, name, task_id)
    context = {"task": task, "dataset": task.dataset, "project": task.dataset.project}
    return render(request, "datasets/_archive.html", context)


@login_required
@require_safe
def addition_row(
    request: HttpRequest, project_id: str, name: str, task_id: str
) -> HttpResponse:
    """Render the progress row of an addition task, which the page polls."""
    found = _dataset(request, project_id, name)
    task = find_task(found.adding_tasks.select_related("model"), task_id)
    context = {
        "task": task,
        "dataset": found,
        "project": found.project,
        "was_waited_for": True,
        "may_edit": caller_of(request).may(Role.EDITOR, found.project),
    }
    return render(request, "datasets/_addition.html", context)


@login_required
@require_POST
def stop_addition(
    request: HttpRequest, project_id: str, name: str, task_id: str
) -> HttpResponse:
    """Stop an addition; what was added stays."""
    found = _dataset(request, project_id, name, Role.EDITOR)
    if stop_task(request, find_task(found.adding_tasks, task_id)):
        messages.success(request, "It stops. What was added stays.")
    return redirect("datasets:dataset", project_id, name)


@login_required
@require_safe
def archive_file(
    request: HttpRequest, project_id: str, name: str, task_id: str
) -> HttpResponseBase:
    task = _archive(request, project_id, name, task_id)
    if not task.has_archive:
        raise Http404
    return serve(
        request, task.archive_key, CONTENT_TYPES[task.container], task.filename
    )


@login_required
@require_safe
def compare(request: HttpRequest, project_id: str, name: str) -> HttpResponse:
    """Render the comparison of two versions."""
    found = _dataset(request, project_id, name)
    last = str(found.published or 1)
    before = _version(found, request.GET.get("before", last))
    after = _version(found, request.GET.get("after", "working"))
    with statement_timeout():
        compared = summary.compare(found, before, after)
    largest = (
        max((n for pair in compared.labels.values() for n in pair), default=0) or 1
    )
    labels = [
        (
            label,
            first,
            second,
            round(100 * first / largest, 2),
            round(100 * second / largest, 2),
        )
        for label, (first, second) in list(compared.labels.items())[:LABELS_SHOWN]
    ]
    context = {
        "project": found.project,
        "dataset": found,
        "before": before,
        "after": after,
        "numbers": range(1, found.working + 1),
        "compared": compared,
        "labels": labels,
    }
    return render(request, "datasets/compare.html", context)


def _dataset(
    request: HttpRequest, project_id: str, name: str, role: Role = Role.VIEWER
) -> Dataset:
    project = visible_project(request, project_id, role)
    found = Dataset.objects.live().filter(project=project, name=name).first()
    if found is None:
        raise Http404
    found.project = project
    return found


def _version(found: Dataset, number: str) -> int:
    if number == "working":
        return found.working
    if number.isdecimal() and len(number) < 9 and 0 < int(number) <= found.working:
        return int(number)
    raise Http404


def _archive(
    request: HttpRequest, project_id: str, name: str, task_id: str
) -> DatasetArchive:
    found = _dataset(request, project_id, name)
    return find_task(found.archives, task_id)
