"""Erasures of a project: start one, follow its progress, read its report."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote
from uuid import UUID

from django import forms
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import (
    require_http_methods,
    require_POST,
    require_safe,
)

from inferences.erasure import running
from inferences.erasure.chosen_records import SELECTION
from inferences.erasure.matching_records import Carried
from inferences.models.erasure import TYPES, ErasureTask
from inferences.models.metadata_values import PATH_MAX_CHARS, UNSTORABLE
from inferences.store.protection import REASON_MAX_CHARS
from istore.accounts.access import caller_of
from istore.models import Role
from istore.tasks.pages import stop_task
from istore.tasks.paging import find_task
from istore.web.pages import render_page, visible_project

SHOWN = 50
ORDER = ["records", "protected", "soft_deleted", "inputs", "objects", "bytes"]
PARTS = {
    "found": "Found when it began",
    "erased": "Committed to removal",
    "traces": "Removed in other places",
    "packs": "Packs of the object store",
    "broken_off": "Inputs of captures that broke off, to be collected",
    "proof": "Looked for afterwards",
    "left": "Still there at the end",
}


class ErasureForm(forms.Form):
    """The form to start an erasure."""

    key = forms.CharField(
        max_length=PATH_MAX_CHARS,
        help_text="A metadata key; a path for JSON; data_source for the source.",
    )
    type = forms.ChoiceField(choices=[(each, each) for each in TYPES])
    value = forms.CharField(
        strip=False, help_text="Exactly as it was sent.", max_length=65_536
    )
    why = forms.CharField(
        required=False,
        max_length=REASON_MAX_CHARS,
        help_text="Kept in the audit log for good: write nothing personal.",
    )

    def clean(self) -> dict[str, Any]:
        super().clean()
        given = self.cleaned_data
        if not self.errors:
            if UNSTORABLE.search(given["key"] + given["value"] + given["why"]):
                raise forms.ValidationError("A NUL has no place here.")
            try:
                given["carried"] = Carried(given["key"], given["type"], given["value"])
            except ValueError as error:
                self.add_error("value", str(error))
        return given


@login_required
@sensitive_post_parameters("value")
@require_http_methods(["GET", "HEAD", "POST"])
def erasures(request: HttpRequest, project_id: str) -> HttpResponse:
    """Render the erasures of a project; POST starts one."""
    project = visible_project(request, project_id, Role.ADMINISTRATOR)
    form = ErasureForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        task = running.open_erasure(
            caller_of(request),
            project,
            form.cleaned_data["carried"],
            why=form.cleaned_data["why"],
            dry_run=request.POST.get("act") != "erase",
        )
        return redirect("inferences:erasure", project.project_id, task.pk)
    context = {
        "project": project,
        "form": form,
        "tasks": project.erasures.all()[:SHOWN],
    }
    status = 400 if form.errors else 200
    return render(request, "inferences/erasures.html", context, status=status)


@login_required
@require_safe
def erasure(request: HttpRequest, project_id: str, task_id: UUID) -> HttpResponse:
    """Render one erasure with its report."""
    project = visible_project(request, project_id, Role.ADMINISTRATOR)
    task = find_task(project.erasures, task_id)
    parts = [
        (said, _in_order(task.report[part]))
        for part, said in PARTS.items()
        if part in task.report
    ]
    context = {
        "project": project,
        "task": task,
        "parts": parts,
        "salt": bytes(task.salt).hex(),
        "asked": _answer_membership(request, task),
        "as_json": f"/api/v1/projects/{quote(project.project_id, safe='')}/erasures/{task.pk}",
        "is_clean": not task.report.get("left", {}).get("records")
        and not task.report.get("proof", {}).get("left"),
    }
    return render_page(
        request, "inferences/erasure.html", "inferences/_erasure.html", context
    )


def _answer_membership(request: HttpRequest, task: ErasureTask) -> dict[str, Any]:
    """Return which inference is asked after, and whether the erasure removed it.

    Text that no id can have is answered with no, as every id that was not among them.
    """
    model_id = request.GET.get("model_id", "")
    name = request.GET.get("inference_id", "")
    is_asked = bool(model_id and name) and not UNSTORABLE.search(model_id + name)
    return {
        "model_id": model_id or (task.key if task.type == SELECTION else ""),
        "inference_id": name,
        "is_included": task.includes(model_id, name) if is_asked else None,
    }


def _in_order(counts: dict[str, int]) -> list[tuple[str, int]]:
    """Return the counts in a fixed order: first those that every erasure has."""
    names = sorted(counts, key=lambda n: ORDER.index(n) if n in ORDER else len(ORDER))
    return [(name.replace("_", " "), counts[name]) for name in names]


@login_required
@require_POST
def stop_erasure(request: HttpRequest, project_id: str, task_id: UUID) -> HttpResponse:
    """Stop an erasure; what is erased stays erased."""
    project = visible_project(request, project_id, Role.ADMINISTRATOR)
    task = find_task(project.erasures, task_id)
    stop_task(request, task)
    return redirect("inferences:erasure", project.project_id, task.pk)
