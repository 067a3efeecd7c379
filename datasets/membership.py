"""Find which inferences of a model are in a dataset, and in which datasets an inference is."""

from __future__ import annotations

from functools import reduce
from operator import or_
from typing import Any

from django.db.models import Q, QuerySet
from django.db.models.lookups import Exact

from datasets.models import Dataset, DatasetEntry
from datasets.split_sql import split_expression
from datasets.splitting import Splitting
from inferences.models import RegisteredModel


def rows_in(
    model: RegisteredModel, name: str | None, split: str | None = None
) -> QuerySet[Any, Any]:
    """Return the row ids of a model's inferences in a dataset's working version.

    With ``name`` None they are those in any dataset of the project; with a split those that
    are in it.
    """
    entries = DatasetEntry.objects.current().filter(
        dataset__project=model.project_id,
        dataset__deleted_at=None,
        model_id=model.model_id,
    )
    if name is not None:
        entries = entries.filter(dataset__name=name)
    if split is not None:
        entries = entries.filter(_in_split(model, name, split))
    return entries.values("row_id")


def _in_split(model: RegisteredModel, name: str | None, split: str) -> Q:
    datasets = Dataset.objects.live().filter(project=model.project_id)
    if name is not None:
        datasets = datasets.filter(name=name)
    tests = [
        Q(dataset=key) & Q(Exact(split_expression(splitting), split))
        for key, stored in datasets.values_list("pk", "splitting")
        if split in (splitting := Splitting.from_json(stored)).names
    ]
    return reduce(or_, tests, Q(pk__in=[]))
