"""Look up the dataset and the version of a page, for a person who may see them."""

from __future__ import annotations

from collections.abc import Callable

from django.contrib import messages
from django.forms import Form
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import reverse

from datasets.models import Dataset
from inferences.web.errors import sentence
from inferences.web.undo import with_undo
from istore.accounts.access import Caller, caller_of
from istore.errors import StoreError
from istore.models import Role
from istore.web.pages import redirect_back, visible_project

ACTED = "acted"  # a message with it ends the selection (selection.js)


def visible_dataset(
    request: HttpRequest, project_id: str, name: str, role: Role = Role.VIEWER
) -> Dataset:
    """Return the dataset, for a person with this role in its project; else 404 or 403."""
    project = visible_project(request, project_id, role)
    found = Dataset.objects.live().filter(project=project, name=name).first()
    if found is None:
        raise Http404
    found.project = project
    return found


def version_of(dataset: Dataset, number: str | None) -> int:
    """Return the number of a version as a path has it: none, or ``working``, is the working one."""
    if number in (None, "", "working"):
        return dataset.working
    assert number is not None
    if number.isdecimal() and len(number) < 9 and 0 < int(number) <= dataset.working:
        return int(number)
    raise Http404


def address_of(dataset: Dataset, version: int | None = None) -> str:
    """Return the address of the page of a dataset, or of one of its published versions."""
    place = [dataset.project.project_id, dataset.name]
    if version is None or version == dataset.working:
        return reverse("datasets:dataset", args=place)
    return reverse("datasets:version", args=[*place, version])


def entry_ids(request: HttpRequest, name: str = "entry") -> list[int]:
    """Return the ids of the entries that a form names."""
    given = request.POST.getlist(name)
    return [int(each) for each in given if each.isdecimal() and len(each) < 19]


def entries_text(count: int) -> str:
    """Return a number of entries in words."""
    return f"{count:,} entr{'y' if count == 1 else 'ies'}"


def all_errors(form: Form) -> str:
    """Return the errors of a form as one text."""
    return " ".join(str(error) for errors in form.errors.values() for error in errors)


def go_back(request: HttpRequest, dataset: Dataset) -> HttpResponse:
    """Redirect to the page that a form came from, if it names one, else to the dataset."""
    return redirect_back(request, request.POST.get("next", ""), address_of(dataset))


def act(
    request: HttpRequest,
    dataset: Dataset,
    do: Callable[[Caller, Dataset], object],
    message: str,
) -> HttpResponse:
    """Run an action, show its message or the reason against it, and redirect back."""
    try:
        do(caller_of(request), dataset)
    except StoreError as error:
        messages.error(request, sentence(error))
    else:
        messages.success(request, message, extra_tags=ACTED)
    return go_back(request, dataset)


def take_out(
    request: HttpRequest, dataset: Dataset, remove: Callable[[Caller], list[int]]
) -> HttpResponse:
    """Run a removal of entries, which returns their ids, and offer to undo it.

    Entries of no published version cannot be put back.
    """
    try:
        ids = remove(caller_of(request))
    except StoreError as error:
        messages.error(request, sentence(error))
        return go_back(request, dataset)
    kept = list(dataset.entries.filter(pk__in=ids).values_list("pk", flat=True))
    said = f"{entries_text(len(ids))} taken out."
    if kept:
        if len(kept) < len(ids):
            gone = entries_text(len(ids) - len(kept))
            said += f" {gone} of no published version for good."
        place = [dataset.project.project_id, dataset.name]
        address = reverse("datasets:put-back", args=place)
        fields = [("next", request.POST.get("next", ""))]
        fields += [("entry", str(each)) for each in kept]
        said = with_undo(request, said, address, fields)
    messages.success(request, said, extra_tags=ACTED)
    return go_back(request, dataset)
