"""The filter of the API contract: the intersection of everything that is given."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import and_
from typing import Protocol

from django.conf import settings
from django.db.models import Q

from inferences.models import InferenceAction, RegisteredModel
from inferences.models.metadata_values import in_slot
from inferences.search.access_paths import (
    NO_ROWS,
    AccessPath,
    path_by_column,
    paths_of_all,
)
from inferences.search.filters.detections import DetectionFilter
from inferences.search.filters.location import LocationFilter
from inferences.search.filters.metadata import MetadataFilter
from inferences.search.filters.time_window import TimeWindow
from inferences.store import metadata_slots
from inferences.store.metadata_slots import NOTHING


class Filter(Protocol):
    """Anything that can be asked: one condition, an intersection, or a tree of them."""

    def condition(self, model: RegisteredModel) -> Q:
        """Return the test that a row of the model passes if it matches."""

    def access_paths(self, model: RegisteredModel) -> list[AccessPath]:
        """Return the indexes that lead to all matching rows, each alone; none if all are walked."""


@dataclass(frozen=True, slots=True)
class InferenceFilter:
    """The intersection of the filters that are set; with none set, everything matches."""

    inference_action: InferenceAction | None = None
    data_hash: bytes | None = None
    data_source: str | None = None
    time_window: TimeWindow | None = None
    metadata: Sequence[MetadataFilter] = ()
    location: LocationFilter | None = None
    detections: DetectionFilter | None = None

    def __post_init__(self) -> None:
        most = settings.ISTORE_FILTER_MAX_CONDITIONS
        if self._size() > most:
            raise ValueError(f"More than {most} conditions.")

    def condition(self, model: RegisteredModel) -> Q:
        """Return all conditions joined by AND; hash and source have indexes, an action has none."""
        return reduce(and_, self._conditions(model), Q())

    def access_paths(self, model: RegisteredModel) -> list[AccessPath]:
        return paths_of_all(self._access_paths(model))

    def _conditions(self, model: RegisteredModel) -> Iterator[Q]:
        if self.inference_action is not None:
            # No index: with four values it would select too many rows to be of use.
            yield Q(inference_action=self.inference_action)
        if self.data_hash is not None:
            yield Q(data_hash=self.data_hash)
        if self.data_source is not None:
            number = self._source_number(model)
            yield NOTHING if number is None else Q(source=number)
        for part in self._parts():
            yield part.condition(model)

    def _access_paths(self, model: RegisteredModel) -> Iterator[list[AccessPath]]:
        if self.inference_action is not None:
            yield []
        if self.data_hash is not None:  # served by inference_by_hash
            test = Q(data_hash=self.data_hash)
            yield [path_by_column(model, "data_hash", test, is_exact=True)]
        if self.data_source is not None:
            yield self._by_source(model)
        for part in self._parts():
            yield part.access_paths(model)

    def _by_source(self, model: RegisteredModel) -> list[AccessPath]:
        """Return the path by inference_by_source; an unknown source matches nothing."""
        number = self._source_number(model)
        if number is None:
            return [NO_ROWS]
        test, equal_to = Q(source=number), (number,)
        return [
            path_by_column(model, "source_id", test, equal_to=equal_to, is_exact=True)
        ]

    def _source_number(self, model: RegisteredModel) -> int | None:
        return metadata_slots.sources.number(model, in_slot(self.data_source or ""))

    def _parts(self) -> Iterator[Filter]:
        for one in (self.time_window, *self.metadata, self.location, self.detections):
            if one is not None:
                yield one

    def _size(self) -> int:
        return len(self.metadata) + sum(one is not None for one in self._others())

    def _others(self) -> Iterator[object]:
        yield from (self.inference_action, self.data_hash, self.data_source)
        yield from (self.time_window, self.detections)
        if self.location:
            yield from (self.location.circle, self.location.rectangle)

    def leaves(self) -> Iterator[Filter]:
        """Yield its conditions one by one, each as a filter of its own."""
        for name in ("inference_action", "data_hash", "data_source"):
            if (value := getattr(self, name)) is not None:
                yield InferenceFilter(**{name: value})
        if self.time_window is not None:
            yield self.time_window
        yield from self.metadata
        if self.location is not None:
            yield from self.location.shapes()
        if self.detections is not None:
            yield self.detections

    def __bool__(self) -> bool:
        return self._size() > 0
