"""The filter on datasets and their splits; the app of datasets registers how to look rows up."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from django.db.models import OuterRef, Q, QuerySet

from inferences.models import RegisteredModel
from inferences.models.side_rows import HasSideRow
from inferences.search.filters.kind import Kind, Reading, Term
from inferences.search.filters.leaf import Leaf
from inferences.search.filters.tree import Not
from inferences.search.filters.words import word
from inferences.store.metadata_slots import NOTHING
from istore.hooks import Hook

# Returns row ids of a model's inferences in the dataset of this name, or in any, and in
# the split of this name where one is given.
RowsIn = Callable[[RegisteredModel, str | None, str | None], QuerySet[Any]]

lookups: Hook[RowsIn] = Hook()


@dataclass(frozen=True, slots=True)
class InDataset(Leaf):
    """The inference is in the working version of the dataset, and there in the split.

    Without a name it is any dataset, without a split any split and none.
    """

    is_joined: ClassVar[bool] = True

    name: str | None = None
    split: str | None = None

    def __post_init__(self) -> None:
        if self.name == "":
            raise ValueError("A dataset has a name.")
        if self.split == "":
            raise ValueError("A split has a name.")

    def condition(self, model: RegisteredModel) -> Q:
        """Return a test served by dataset_entry_inference, by the model's id and the row."""
        if lookups.single is None:
            return NOTHING
        entries = lookups.single(model, self.name, self.split)
        return Q(HasSideRow(entries.filter(row_id=OuterRef("id"))))

    def __str__(self) -> str:
        named = f"in dataset {self.name}" if self.name else "in a dataset"
        return f"{named}, split {self.split}" if self.split else named

    def terms(self) -> Iterator[str]:
        if self.name is not None:
            yield f"dataset:{word(self.name)}"
        if self.split is not None:
            yield f"split:{word(self.split)}"


def _dataset(reading: Reading) -> None:
    at = reading.scanner.position
    draft = reading.group.draft(InDataset, at)
    if "name" in draft.fields:  # in both of two datasets
        draft = reading.group.begin(InDataset, at)
    draft.fields["name"] = reading.scanner.value()[0]


def _split(reading: Reading) -> None:
    draft = reading.group.draft(InDataset, reading.scanner.position)
    if "split" in draft.fields:
        raise ValueError("A split stands here already.")
    draft.fields["split"] = reading.scanner.value()[0]


KIND = Kind(
    terms=(Term("dataset:", _dataset), Term("split:", _split)),
    words={"has:dataset": InDataset(), "no:dataset": Not(InDataset())},
)
