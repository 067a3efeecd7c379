"""Which datasets hold inferences of a model, and which hold one inference."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlencode

from django.contrib.auth.decorators import login_required
from django.db import OperationalError
from django.db.models import Count
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_safe

from datasets.models import Dataset, DatasetEntry
from datasets.web.access import address_of
from inferences.models import Inference, RegisteredModel
from inferences.search import text
from inferences.search.filters import InDataset
from inferences.web import visible_model
from inferences.web.held_in import Holding
from istore.accounts.access import caller_of
from istore.db.statement_timeout import statement_timeout
from istore.models import Role

SHOWN = 20


@dataclass(frozen=True, slots=True)
class Row:
    """A dataset with the number of the model's inferences in its working version.

    ``count`` is None if counting took too long; ``listed`` is the model's list of them.
    """

    dataset: Dataset
    address: str
    count: int | None
    listed: str


@login_required
@require_safe
def show_datasets(request: HttpRequest, model_id: str) -> HttpResponse:
    """Render the datasets that inferences of a model were added to."""
    model = visible_model(request, model_id)
    found = Dataset.objects.live().filter(
        project=model.project, sources__model_id=model.model_id
    )
    datasets = list(found.distinct())
    for each in datasets:
        each.project = model.project
    counts = _counts(model, datasets)
    browse = reverse("inferences:browse", args=[model.project, model.model_id])
    context = {
        "model": model,
        "may_edit": caller_of(request).may(Role.EDITOR, model.project),
        "rows": [
            Row(
                each,
                address_of(each),
                None if counts is None else counts.get(each.pk, 0),
                f"{browse}?{urlencode({'q': text.write(InDataset(each.name))})}",
            )
            for each in datasets
        ],
    }
    return render(request, "datasets/of_model.html", context)


def _counts(model: RegisteredModel, datasets: list[Dataset]) -> dict[int, int] | None:
    rows = DatasetEntry.objects.current().filter(
        dataset__in=datasets, model_id=model.model_id
    )
    try:
        with statement_timeout():
            return dict(rows.order_by().values_list("dataset").annotate(n=Count("pk")))
    except OperationalError:
        return None


def holdings_of(inference: Inference) -> list[Holding]:
    """Return the datasets that hold an inference now, each with its split.

    Served by dataset_entry_inference.
    """
    model = inference.registered_model
    rows = DatasetEntry.objects.current().filter(
        dataset__project=model.project_id,
        dataset__deleted_at=None,
        model_id=model.model_id,
        row_id=inference.id,
    )
    holdings = []
    for entry in rows.select_related("dataset__project").order_by("pk")[:SHOWN]:
        dataset = entry.dataset
        splitting = dataset.splitting_of(dataset.working)
        split = splitting.split_of(entry.data_hash, entry.metadata)
        address = f"{address_of(dataset)}/entries/{entry.pk}"
        holdings.append(Holding(dataset.name, address, split or ""))
    return holdings
