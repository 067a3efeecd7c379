"""What every filter answers, and what a single condition says of itself besides."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Protocol

from django.db.models import Q

from inferences.models import RegisteredModel
from inferences.search.access_paths import AccessPath
from inferences.search.zone_maps.tallies import Tally


class Filter(Protocol):
    """Anything that can be asked: one condition, an intersection, or a tree of them."""

    def condition(self, model: RegisteredModel) -> Q:
        """Return the test that a row of the model passes if it matches."""

    def access_paths(self, model: RegisteredModel) -> list[AccessPath]:
        """Return the indexes that lead to all matching rows, each alone; none if all are walked."""

    def tally(self, model: RegisteredModel) -> Tally | None:
        """Return how many live rows of a segment match, if summaries tell (``zone_maps.counts``)."""


class Leaf:
    """A filter that is no AND, OR or NOT; the defaults are those of a condition of its own."""

    __slots__ = ()

    # Whether the terms of one group of a text query make one such filter together.
    is_joined: ClassVar[bool] = False

    def condition(self, model: RegisteredModel) -> Q:
        raise NotImplementedError

    def access_paths(self, model: RegisteredModel) -> list[AccessPath]:
        """Return no path: rows are walked."""
        return []

    def tally(self, model: RegisteredModel) -> Tally | None:
        """Return none: segments do not summarise what is tested."""
        return None

    def leaves(self) -> Iterator[Filter]:
        """Yield the conditions that it consists of, each as a filter of its own."""
        yield self

    def plain(self) -> Filter:
        """Return the same filter with its values written in one way."""
        return self

    def terms(self) -> Iterator[str]:
        """Yield the terms of a text query that mean it, unless its kind has a word for it."""
        yield from ()

    def parameters(self) -> dict[str, list[str]]:
        """Return the parameters of a URL that mean it, unless it is one of a kind's choices."""
        return {}
