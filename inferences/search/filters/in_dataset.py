"""The filter on datasets; the app of datasets registers how to look their rows up."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from django.db.models import Q, QuerySet

from inferences.models import RegisteredModel
from inferences.search.filters.kind import Kind, Term
from inferences.search.filters.leaf import Leaf
from inferences.search.filters.tree import Not
from inferences.search.filters.words import word
from inferences.store.metadata_slots import NOTHING
from istore.hooks import Hook

# Returns row ids of a model's inferences in the dataset of this name, or in any.
RowsIn = Callable[[RegisteredModel, str | None], QuerySet[Any]]

lookups: Hook[RowsIn] = Hook()


@dataclass(frozen=True, slots=True)
class InDataset(Leaf):
    """The inference is in the working version of the dataset; without a name, of any dataset."""

    name: str | None = None

    def __post_init__(self) -> None:
        if self.name == "":
            raise ValueError("A dataset has a name.")

    def condition(self, model: RegisteredModel) -> Q:
        """Return a test served by dataset_entry_inference, by the model's id and the row."""
        rows_in = lookups.single
        return Q(id__in=rows_in(model, self.name)) if rows_in else NOTHING

    def __str__(self) -> str:
        return f"in dataset {self.name}" if self.name else "in a dataset"

    def terms(self) -> Iterator[str]:
        yield f"dataset:{word(self.name or '')}"


KIND = Kind(
    terms=(Term("dataset:", lambda reading: InDataset(reading.scanner.value()[0])),),
    words={"has:dataset": InDataset(), "no:dataset": Not(InDataset())},
)
