"""Find which inferences of a model are in a dataset, for filters."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet

from datasets.models import DatasetEntry
from inferences.models import RegisteredModel


def rows_in(model: RegisteredModel, name: str | None) -> QuerySet[Any, Any]:
    """Return the row ids of a model's inferences in a dataset's working version.

    With ``name`` None they are those in any dataset of the project.
    """
    entries = DatasetEntry.objects.current().filter(
        dataset__project=model.project_id,
        dataset__deleted_at=None,
        model_id=model.model_id,
    )
    if name is not None:
        entries = entries.filter(dataset__name=name)
    return entries.values("row_id")
