"""What can be asked of stored inferences, as values.

The API, the pages and the exporter each build a ``Filter`` and hand it to ``matching``:
an ``InferenceFilter``, one leaf, or a tree of them (``tree``), which ``text`` reads and
writes as people type it. No other code turns a filter into SQL.
"""

from __future__ import annotations

from inferences.filters import text
from inferences.filters.classes import ClassFilter
from inferences.filters.detections import DetectionFilter
from inferences.filters.existence import (
    HasInput,
    HasKey,
    HasWarnings,
    IsNotUnderstood,
    IsProtected,
    NoDetections,
)
from inferences.filters.ground_truth import TruthFilter
from inferences.filters.in_dataset import InDataset
from inferences.filters.intersection import Filter, InferenceFilter
from inferences.filters.location import (
    GeoCircle,
    GeoPoint,
    GeoRectangle,
    LocationFilter,
)
from inferences.filters.metadata import MetadataFilter
from inferences.filters.time_window import TimeWindow
from inferences.filters.tree import And, Not, Or
from inferences.models import InferenceQuerySet, RegisteredModel

__all__ = [
    "And",
    "ClassFilter",
    "DetectionFilter",
    "Filter",
    "GeoCircle",
    "GeoPoint",
    "GeoRectangle",
    "HasInput",
    "HasKey",
    "HasWarnings",
    "InDataset",
    "InferenceFilter",
    "IsNotUnderstood",
    "IsProtected",
    "LocationFilter",
    "MetadataFilter",
    "NoDetections",
    "Not",
    "Or",
    "TimeWindow",
    "TruthFilter",
    "matching",
    "text",
]


def matching(model: RegisteredModel, filters: Filter) -> InferenceQuerySet:
    """The live inferences of a model that pass."""
    return model.inferences.live().filter(filters.condition(model))
