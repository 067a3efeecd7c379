"""Whether an inference was added to a dataset. Which have, the app of datasets knows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from django.db.models import Q, QuerySet

from inferences.models import RegisteredModel
from inferences.store.metadata_slots import NOTHING

# Row ids of a model's inferences in the dataset of this name, or in any.
RowsIn = Callable[[RegisteredModel, str | None], QuerySet]

_known: list[RowsIn] = []


def register(rows_in: RowsIn) -> None:
    """Called when the app that has datasets is ready."""
    _known[:] = [rows_in]


@dataclass(frozen=True, slots=True)
class InDataset:
    """The inference is in the working version of the dataset; without a name, of any."""

    name: str | None = None

    def __post_init__(self) -> None:
        if self.name == "":
            raise ValueError("A dataset has a name.")

    def condition(self, model: RegisteredModel) -> Q:
        """Served by dataset_entry_inference, by the model's id and the row."""
        if not _known:
            return NOTHING
        return Q(id__in=_known[0](model, self.name))

    def __str__(self) -> str:
        return f"in dataset {self.name}" if self.name else "in a dataset"
