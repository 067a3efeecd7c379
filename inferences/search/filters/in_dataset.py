"""The filter on datasets; the app of datasets registers how to look their rows up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.db.models import Q, QuerySet

from inferences.models import RegisteredModel
from inferences.search.access_paths import AccessPath
from inferences.store.metadata_slots import NOTHING

# Returns row ids of a model's inferences in the dataset of this name, or in any.
RowsIn = Callable[[RegisteredModel, str | None], QuerySet[Any]]

_known: list[RowsIn] = []


def register(rows_in: RowsIn) -> None:
    """Set the lookup of rows; called when the app of datasets is ready."""
    _known[:] = [rows_in]


@dataclass(frozen=True, slots=True)
class InDataset:
    """The inference is in the working version of the dataset; without a name, of any dataset."""

    name: str | None = None

    def __post_init__(self) -> None:
        if self.name == "":
            raise ValueError("A dataset has a name.")

    def condition(self, model: RegisteredModel) -> Q:
        """Return a test served by dataset_entry_inference, by the model's id and the row."""
        if not _known:
            return NOTHING
        return Q(id__in=_known[0](model, self.name))

    def access_paths(self, model: RegisteredModel) -> list[AccessPath]:
        return []

    def __str__(self) -> str:
        return f"in dataset {self.name}" if self.name else "in a dataset"
