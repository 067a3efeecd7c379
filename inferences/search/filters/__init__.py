"""What can be asked of stored inferences, as values.

The API, the pages and the exporter each build a ``Filter`` and pass it to ``matching``. It is
an ``InferenceFilter``, one leaf, or a tree of them (``tree``); ``text`` parses and writes it
as people type it. No other code turns a filter into SQL.
"""

from __future__ import annotations

from inferences.models import InferenceQuerySet, RegisteredModel
from inferences.search import text
from inferences.search.filters.classes import ClassFilter
from inferences.search.filters.detections import DetectionFilter, NoDetections
from inferences.search.filters.existence import (
    HasInput,
    HasKey,
    HasWarnings,
    IsNotUnderstood,
    IsProtected,
)
from inferences.search.filters.full_text import FullTextFilter
from inferences.search.filters.ground_truth import TruthFilter, TruthLabelFilter
from inferences.search.filters.in_dataset import InDataset
from inferences.search.filters.in_session import InSession
from inferences.search.filters.in_trace import InTrace
from inferences.search.filters.intersection import InferenceFilter
from inferences.search.filters.leaf import Filter
from inferences.search.filters.location import (
    GeoCircle,
    GeoPoint,
    GeoRectangle,
    LocationFilter,
)
from inferences.search.filters.map_area import MapArea
from inferences.search.filters.metadata import MetadataFilter
from inferences.search.filters.status import StatusFilter
from inferences.search.filters.time_window import TimeWindow
from inferences.search.filters.tree import And, Not, Or

__all__ = [
    "And",
    "ClassFilter",
    "DetectionFilter",
    "Filter",
    "FullTextFilter",
    "GeoCircle",
    "GeoPoint",
    "GeoRectangle",
    "HasInput",
    "HasKey",
    "HasWarnings",
    "InDataset",
    "InSession",
    "InTrace",
    "InferenceFilter",
    "IsNotUnderstood",
    "IsProtected",
    "LocationFilter",
    "MapArea",
    "MetadataFilter",
    "NoDetections",
    "Not",
    "Or",
    "StatusFilter",
    "TimeWindow",
    "TruthFilter",
    "TruthLabelFilter",
    "matching",
    "text",
]


def matching(model: RegisteredModel, filters: Filter) -> InferenceQuerySet:
    """Return the live inferences of a model that pass the filter."""
    return model.inferences.live().filter(filters.condition(model))
