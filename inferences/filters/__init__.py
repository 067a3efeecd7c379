"""What can be asked of stored inferences, as values.

The API, the pages and the exporter each build an ``InferenceFilter`` and hand it to
``matching``. No other code turns a filter into SQL.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import and_

from django.conf import settings
from django.db.models import Q

from inferences import directory
from inferences.directory import NOTHING
from inferences.filters.detections import DetectionFilter
from inferences.filters.location import (
    GeoCircle,
    GeoPoint,
    GeoRectangle,
    LocationFilter,
)
from inferences.filters.metadata import MetadataFilter
from inferences.filters.time_window import TimeWindow
from inferences.metadata import in_slot
from inferences.models import InferenceAction, InferenceQuerySet, RegisteredModel

__all__ = [
    "DetectionFilter",
    "GeoCircle",
    "GeoPoint",
    "GeoRectangle",
    "InferenceFilter",
    "LocationFilter",
    "MetadataFilter",
    "TimeWindow",
    "matching",
]


@dataclass(frozen=True, slots=True)
class InferenceFilter:
    """The intersection of the filters that are set; with none set, everything."""

    inference_action: InferenceAction | None = None
    data_hash: bytes | None = None
    data_source: str | None = None
    time_window: TimeWindow | None = None
    metadata: Sequence[MetadataFilter] = ()
    location: LocationFilter | None = None
    detections: DetectionFilter | None = None

    def __post_init__(self) -> None:
        most = settings.ISTORE_FILTER_MAX_CONDITIONS
        if len(self.metadata) > most:
            raise ValueError(f"metadata_filter: more than {most} conditions.")

    def condition(self, model: RegisteredModel) -> Q:
        return reduce(and_, self._conditions(model), Q())

    def _conditions(self, model: RegisteredModel) -> Iterator[Q]:
        if self.inference_action is not None:
            # No index of its own: four values. A walk, or what another filter leaves.
            yield Q(inference_action=self.inference_action)
        if self.data_hash is not None:
            yield Q(data_hash=self.data_hash)  # served by inference_by_hash
        if self.data_source is not None:
            number = directory.sources.number(model, in_slot(self.data_source))
            # Served by inference_by_source; a source nobody sent matches nothing.
            yield NOTHING if number is None else Q(source=number)
        for one in (self.time_window, *self.metadata, self.location, self.detections):
            if one is not None:
                yield one.condition(model)

    def __bool__(self) -> bool:
        return self != InferenceFilter()


def matching(model: RegisteredModel, filters: InferenceFilter) -> InferenceQuerySet:
    """The live inferences of a model that pass every filter."""
    return model.inferences.live().filter(filters.condition(model))
