"""Tests of the values of a metadata key: what their index is asked, and what decides beyond."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import reduce
from itertools import chain
from operator import and_, or_
from typing import Any

from django.db.models import Q
from django.db.models.functions import Floor

from inferences.models import RegisteredModel
from inferences.search.access_paths import (
    AccessPath,
    merge,
    path_by_column,
    path_by_side_rows,
    paths_of_any,
)
from inferences.search.zone_maps.pruning import Range
from inferences.search.zone_maps.tallies import (
    Tally,
    tally_of_numbers,
    tally_of_texts,
)
from inferences.store.metadata_slots import NOTHING, SlotRef

Comparison = tuple[str, Any]  # a lookup and its operand
Comparisons = tuple[tuple[Comparison, ...], ...]
IS_THERE: Comparisons = ((("isnull", False),),)


@dataclass(frozen=True, slots=True)
class ValueTest:
    """A test of the values at one place.

    ``near`` is what the index of the place is asked: of each group one comparison must hold.
    If other values pass these comparisons as well, ``exactly`` decides; ``whole`` leaves out
    numbers that are not whole. ``is_implied`` says that ``exactly`` is never true without
    ``near``.
    """

    place: SlotRef
    near: Comparisons
    exactly: Q = field(default_factory=Q)
    whole: bool = False
    is_implied: bool = False

    def condition(self) -> Q:
        """Return the test, served by the index of the slot or by a probe of the side rows."""
        if self.is_implied:
            return self.exactly
        groups = (reduce(or_, map(self._holds, group)) for group in self.near)
        return reduce(and_, groups) & self.exactly

    def _holds(self, comparison: Comparison) -> Q:
        lookup, operand = comparison

        def test(column: str) -> Q:
            found = Q(**{f"{column}__{lookup}": operand})
            return found & Q(**{column: Floor(column)}) if self.whole else found

        return self.place.holds(test)

    def access_paths(self, model: RegisteredModel) -> list[AccessPath]:
        """Return the path by the index of the slot, or by an index of the side rows."""
        groups = (
            paths_of_any([self._path(model, *each)] for each in g) for g in self.near
        )
        return merge(chain.from_iterable(groups))

    def tally(self) -> Tally | None:
        """Return how many rows of a segment pass, if the slot's summary alone decides."""
        slot = self.place.slot
        if not slot or len(self.near) != 1 or self.exactly or self.whole:
            return None
        of = tally_of_texts if slot.startswith("string") else tally_of_numbers
        return of(slot, self.near[0])

    def _path(self, model: RegisteredModel, lookup: str, operand: Any) -> AccessPath:
        is_exact = len(self.near) == 1 and not (self.exactly or self.whole)
        if not self.place.slot:
            # overflow_text_by_value and overflow_number_by_value end in (value, id).
            rows = self.place.rows(model).filter(**{f"value__{lookup}": operand})
            return path_by_side_rows(
                rows, in_order=lookup == "exact", is_exact=is_exact
            )
        equal_to: Sequence[Any] = ()
        numbers: Range = (None, None)
        match lookup:
            case "exact":
                equal_to, numbers = (operand,), (operand, operand)
            case "in":
                equal_to = tuple(dict.fromkeys(operand))
                numbers = min(operand), max(operand)
            case "gt" | "gte":
                numbers = operand, None
            case "lt" | "lte":
                numbers = None, operand
        return path_by_column(
            model,
            self.place.slot,
            Q(**{f"{self.place.slot}__{lookup}": operand}),
            equal_to=equal_to,
            numbers=numbers,
            is_exact=is_exact,
        )


def condition_of(tests: Sequence[ValueTest]) -> Q:
    """Return the condition that one of the tests holds."""
    return reduce(or_, [test.condition() for test in tests]) if tests else NOTHING


def access_paths_of(
    model: RegisteredModel, tests: Sequence[ValueTest]
) -> list[AccessPath]:
    """Return the paths to the rows for which one of the tests holds."""
    return paths_of_any(test.access_paths(model) for test in tests)
