"""Adding a selection of inferences to a dataset, and the progress of that."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import (
    require_http_methods,
    require_POST,
    require_safe,
)

from datasets import lifecycle
from datasets.forms import AddForm
from datasets.models import Dataset
from datasets.web.access import visible_dataset
from exports import task_lifecycle
from exports.forms import Chosen
from inferences.web import visible_model
from inferences.web.errors import sentence
from istore.accounts.access import caller_of
from istore.errors import StoreError
from istore.models import Role
from istore.tasks.pages import stop_task
from istore.tasks.paging import find_task


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


@login_required
@require_safe
def addition_row(
    request: HttpRequest, project_id: str, name: str, task_id: str
) -> HttpResponse:
    """Render the progress row of an addition task, which the page polls."""
    found = visible_dataset(request, project_id, name)
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
    found = visible_dataset(request, project_id, name, Role.EDITOR)
    if stop_task(request, find_task(found.adding_tasks, task_id)):
        messages.success(request, "It stops. What was added stays.")
    return redirect("datasets:dataset", project_id, name)
