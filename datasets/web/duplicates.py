"""The page of duplicates: keep one of a group, and take the others out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.contrib.auth.decorators import login_required
from django.db import OperationalError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_POST, require_safe

from datasets import duplicates, lifecycle
from datasets.models import Dataset
from datasets.web.access import address_of, entry_ids, take_out, visible_dataset
from datasets.web.cards import EntryCard, EntryMarkup, colours_in, entry_cards
from datasets.web.head import head
from istore.db.statement_timeout import statement_timeout
from istore.models import Role

KINDS = {
    "within": "Equal inputs here",
    "across": "In other datasets, too",
    "alike": "Nearly equal",
}


@dataclass(frozen=True, slots=True)
class Shown:
    """A group with the cards of its entries; the first is the one that is offered to be kept."""

    group: duplicates.Group
    cards: list[EntryCard]
    number: int

    @property
    def others(self) -> int:
        return self.group.count - 1

    @property
    def more(self) -> int:
        return self.group.count - len(self.cards)

    @property
    def elsewhere(self) -> list[tuple[Dataset, int, str]]:
        """The other datasets, each with the number of its entries and the first one's page."""
        found: dict[int, tuple[Dataset, int, str]] = {}
        for entry in self.group.elsewhere:
            dataset = entry.dataset
            address = f"{address_of(dataset)}/entries/{entry.pk}"
            _, count, first = found.get(dataset.pk, (dataset, 0, address))
            found[dataset.pk] = (dataset, count + 1, first)
        return list(found.values())


@login_required
@require_safe
def show_duplicates(request: HttpRequest, project_id: str, name: str) -> HttpResponse:
    """Render groups of equal or nearly equal inputs of the working version."""
    dataset = visible_dataset(request, project_id, name)
    kind = request.GET.get("kind", "within")
    kinds = dict(KINDS)
    if not duplicates.has_embeddings(dataset):
        kinds.pop("alike")
    kind = kind if kind in kinds else "within"
    after = request.GET.get("after", "")
    after = after if duplicates.CURSOR.fullmatch(after) else ""
    context: dict[str, Any] = {
        **head(request, dataset, dataset.working, "duplicates"),
        "kinds": kinds.items(),
        "kind": kind,
        "after": after,
        "compared": duplicates.COMPARED,
        "address": request.get_full_path(),
    }
    try:
        with statement_timeout():
            found = _find(dataset, kind, after)
    except OperationalError:
        context["is_slow"] = True
        return render(request, "datasets/duplicates.html", context)
    colours = colours_in(dataset)
    markup = EntryMarkup(address_of(dataset))
    groups = [
        Shown(group, entry_cards(group.entries, colours), number)
        for number, group in enumerate(found.groups)
    ]
    context |= {"groups": groups, "next": found.next, "markup": markup}
    return render(request, "datasets/duplicates.html", context)


def _find(dataset: Dataset, kind: str, after: str) -> duplicates.Groups:
    if kind == "alike":
        return duplicates.Groups(duplicates.alike(dataset))
    find = duplicates.across if kind == "across" else duplicates.within
    found = find(dataset, after)
    for group in found.groups:
        for entry in group.entries:
            entry.split = None
    return found


@login_required
@require_POST
def keep(request: HttpRequest, project_id: str, name: str) -> HttpResponse:
    """Keep the entries that are chosen, and take all others of their inputs out."""
    dataset = visible_dataset(request, project_id, name, Role.EDITOR)
    names = [each for each in request.POST if each.startswith("keep-")]
    ids = [pk for each in names for pk in entry_ids(request, each)]
    if one := request.POST.get("group"):  # the button of one group
        ids = entry_ids(request, f"keep-{one}")
    return take_out(
        request,
        dataset,
        lambda caller: lifecycle.keep_one_of_each(caller, dataset, ids),
    )
