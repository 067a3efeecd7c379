"""Which inferences of a model are in a dataset, for filters."""

from __future__ import annotations

from django.db.models import QuerySet

from datasets.models import DatasetEntry
from inferences.models import RegisteredModel


def rows_in(model: RegisteredModel, name: str | None) -> QuerySet:
    """Row ids of the model's inferences in the working version of a dataset, or of any."""
    entries = DatasetEntry.objects.current().filter(
        dataset__project=model.project_id,
        dataset__deleted_at=None,
        model_id=model.model_id,
    )
    if name is not None:
        entries = entries.filter(dataset__name=name)
    return entries.values("row_id")
