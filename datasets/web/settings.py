"""The name and description of a dataset, and its deletion."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST

from datasets import lifecycle
from datasets.forms import NewDatasetForm
from datasets.web.access import address_of, visible_dataset
from datasets.web.head import head
from inferences.web.errors import sentence
from istore.accounts.access import caller_of
from istore.errors import StoreError
from istore.models import Role


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def show_settings(request: HttpRequest, project_id: str, name: str) -> HttpResponse:
    """Render the settings of a dataset; POST changes its name and description."""
    dataset = visible_dataset(request, project_id, name, Role.EDITOR)
    initial = {"name": dataset.name, "description": dataset.description}
    form = NewDatasetForm(request.POST or None, initial=initial)
    if request.method == "POST" and form.is_valid():
        try:
            changed = lifecycle.change(caller_of(request), dataset, **form.cleaned_data)
        except StoreError as error:
            form.add_error("name", sentence(error))
        else:
            messages.success(request, "The dataset is changed.")
            changed.project = dataset.project
            return redirect(f"{address_of(changed)}/settings")
    context = {
        **head(request, dataset, dataset.working, "settings"),
        "form": form,
    }
    status = 400 if form.errors else 200
    return render(request, "datasets/settings.html", context, status=status)


@login_required
@require_POST
def delete(request: HttpRequest, project_id: str, name: str) -> HttpResponse:
    """Delete a dataset whose name was typed."""
    dataset = visible_dataset(request, project_id, name, Role.EDITOR)
    if request.POST.get("name") != dataset.name:
        messages.error(request, "Type the name of the dataset to delete it.")
        return redirect(f"{address_of(dataset)}/settings")
    lifecycle.delete(caller_of(request), dataset)
    messages.success(request, f"{dataset.name} is deleted.")
    return redirect("datasets:datasets", project_id)
