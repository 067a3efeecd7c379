"""The page of a project's datasets."""

from __future__ import annotations

from django.contrib.auth.decorators import login_required
from django.db.models import Count
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from datasets import lifecycle
from datasets.forms import NewDatasetForm
from datasets.models import Dataset, DatasetEntry
from datasets.web.head import Download
from inferences.predictions.parsers.prompts import is_textual
from inferences.web.errors import sentence
from istore.accounts.access import caller_of
from istore.errors import StoreError
from istore.models import Role
from istore.web.pages import visible_project

THUMBNAILS = 4
LOOKED_AT = 40  # first entries, among which there may be pictures


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
            "first": _first_pictures(each),
            "latest": each.versions.first(),
            # Of the last published version: whether it changed since is not asked here.
            "download": Download.of(each, each.published, False)
            if may_edit and each.published
            else None,
        }
        for each in found
    ]
    context = {"project": project, "cards": cards, "form": form, "may_edit": may_edit}
    status = 400 if form.errors else 200
    return render(request, "datasets/datasets.html", context, status=status)


def _first_pictures(dataset: Dataset) -> list[DatasetEntry]:
    """Return the first entries whose inputs may be pictures: requests of numbers have no preview."""
    entries = dataset.entries.current().exclude(blob=None).select_related("blob")
    first = entries.order_by("pk")[:LOOKED_AT]
    pictures = [e for e in first if e.blob and not is_textual(e.blob.content_type)]
    return pictures[:THUMBNAILS]
