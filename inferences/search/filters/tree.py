"""AND, OR and NOT over filters, and the normal form that equal trees share.

A leaf is any other value with a ``condition``; an ``InferenceFilter`` is an intersection of leaves.
The size of a tree is checked whenever a node is made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import reduce
from operator import and_, or_

from django.conf import settings
from django.db.models import BooleanField, Case, Q, Value, When

from inferences.models import RegisteredModel
from inferences.search.access_paths import (
    AccessPath,
    paths_of_all,
    paths_of_any,
)
from inferences.search.filters.leaf import Filter, Leaf
from inferences.search.zone_maps.tallies import Tally, tally_of_any, tally_of_each
from inferences.store.metadata_slots import NOTHING

DEPTH_MAX = 20


@dataclass(frozen=True, slots=True)
class And:
    """All of the parts match; without parts everything does."""

    parts: tuple[Filter, ...]

    def __post_init__(self) -> None:
        check_size(self)

    def condition(self, model: RegisteredModel) -> Q:
        return reduce(and_, [part.condition(model) for part in self.parts], Q())

    def access_paths(self, model: RegisteredModel) -> list[AccessPath]:
        return paths_of_all(part.access_paths(model) for part in self.parts)

    def tally(self, model: RegisteredModel) -> Tally | None:
        """Return the tally within an OR or NOT; a count goes through the parts."""
        return tally_of_each([part.tally(model) for part in self.parts])

    def __str__(self) -> str:
        return " and ".join(_group(part) for part in self.parts) or "everything"


@dataclass(frozen=True, slots=True)
class Or:
    """At least one of the parts matches."""

    parts: tuple[Filter, ...]

    def __post_init__(self) -> None:
        if not self.parts:
            raise ValueError("An OR of nothing.")
        check_size(self)

    def condition(self, model: RegisteredModel) -> Q:
        """Return the parts joined by OR: an index for each, combined as bitmaps, or a walk."""
        parts = [part.condition(model) for part in self.parts]
        # Django drops an empty Q from an OR, though here it means everything.
        return Q() if Q() in parts else reduce(or_, parts)

    def access_paths(self, model: RegisteredModel) -> list[AccessPath]:
        return paths_of_any(part.access_paths(model) for part in self.parts)

    def tally(self, model: RegisteredModel) -> Tally | None:
        return tally_of_any([part.tally(model) for part in self.parts])

    def __str__(self) -> str:
        return " or ".join(_group(part) for part in self.parts)


@dataclass(frozen=True, slots=True)
class Not:
    """All inferences that do not pass the part, including those without the value."""

    part: Filter

    def __post_init__(self) -> None:
        check_size(self)

    def condition(self, model: RegisteredModel) -> Q:
        """Return the negation, which no index serves.

        A comparison with null is null, and NOT would keep it so. CASE turns null into not
        true, so that rows without the value match.
        """
        inner = self.part.condition(model)
        if not inner:
            return NOTHING
        flipped = Case(
            When(inner, then=Value(False)),
            default=Value(True),
            output_field=BooleanField(),
        )
        return Q(flipped)

    def access_paths(self, model: RegisteredModel) -> list[AccessPath]:
        return []

    def tally(self, model: RegisteredModel) -> Tally | None:
        inner = self.part.tally(model)
        return inner and ~inner

    def __str__(self) -> str:
        return f"not {_group(self.part)}"


def _group(part: Filter) -> str:
    return f"({part})" if isinstance(part, And | Or) else str(part)


def parts_of(filters: Filter) -> tuple[Filter, ...]:
    """Return the parts of AND, OR and NOT; of anything else none."""
    match filters:
        case And(parts) | Or(parts):
            return parts
        case Not(part):
            return (part,)
    return ()


def leaf_count(filters: Filter) -> int:
    """Return the number of leaves in the tree."""
    if isinstance(filters, And | Or | Not):
        return sum(leaf_count(part) for part in parts_of(filters))
    return len(leaves_of(filters))


def depth(filters: Filter) -> int:
    """Return how many levels of AND, OR and NOT the tree has."""
    if isinstance(filters, And | Or | Not):
        return 1 + max((depth(part) for part in parts_of(filters)), default=0)
    return int(len(leaves_of(filters)) > 1)


def leaves_of(filters: Filter) -> list[Filter]:
    """Return the leaves that an intersection consists of; a leaf is its own."""
    return list(filters.leaves()) if isinstance(filters, Leaf) else [filters]


def conjuncts(filters: Filter) -> Iterator[Filter]:
    """Yield the filters that must all match, none of which is an AND."""
    if isinstance(filters, And):
        for part in filters.parts:
            yield from conjuncts(part)
    else:
        yield from leaves_of(filters)


def check_size(filters: Filter) -> None:
    """Raise ValueError if the tree has too many conditions or levels."""
    most = settings.ISTORE_FILTER_MAX_CONDITIONS
    if leaf_count(filters) > most:
        raise ValueError(f"More than {most} conditions.")
    if depth(filters) > DEPTH_MAX:
        raise ValueError(f"More than {DEPTH_MAX} levels of AND, OR and NOT.")


def map_leaves(filters: Filter, change: Callable[[Filter], Filter]) -> Filter:
    """Return the same tree with each leaf replaced by ``change(leaf)``."""
    match filters:
        case And(parts):
            return And(tuple(map_leaves(part, change) for part in parts))
        case Or(parts):
            return Or(tuple(map_leaves(part, change) for part in parts))
        case Not(part):
            return Not(map_leaves(part, change))
    return change(filters)


def normal(filters: Filter) -> Filter:
    """Return the same filter in normal form, the form that parsing its text gives.

    Every leaf has one condition, no AND stands directly in an AND and no OR in an OR, a
    double NOT is removed, and values are written in one way.
    """
    match filters:
        case Leaf():
            leaves = leaves_of(filters)
            if leaves == [filters]:
                return filters.plain()
            return _flat(And, [normal(leaf) for leaf in leaves])
        case And(parts):
            return _flat(And, [normal(part) for part in parts])
        case Or(parts):
            return _flat(Or, [normal(part) for part in parts])
        case Not(Not(part)):
            return normal(part)
        case Not(part):
            inner = normal(part)
            return inner.part if isinstance(inner, Not) else Not(inner)
    return filters


def _flat(kind: type[And] | type[Or], parts: list[Filter]) -> Filter:
    flat: list[Filter] = []
    for part in parts:
        flat += part.parts if isinstance(part, kind) else [part]
    return flat[0] if len(flat) == 1 else kind(tuple(flat))
