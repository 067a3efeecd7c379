"""Addresses of the inferences that a group or a cell of the quality page counts."""

from __future__ import annotations

from datetime import datetime, timedelta

from inferences.models import RegisteredModel
from inferences.search.filters import (
    DetectionFilter,
    Filter,
    HasKey,
    InferenceFilter,
    MetadataFilter,
    Not,
    TimeWindow,
    TruthFilter,
    TruthLabelFilter,
)
from inferences.search.filters.intersection import all_of
from inferences.web.view_models.charts import intersect, list_address
from quality.measuring import TIME, QualityQuery

MICROSECOND = timedelta(microseconds=1)


def group_address(
    model: RegisteredModel, filters: Filter, query: QualityQuery, name: str
) -> str:
    """Return the address of the inferences with ground truth in one group."""
    found = all_of([intersect(filters, _group(query, name)), TruthFilter("given")])
    return list_address(model, found)


def _group(query: QualityQuery, name: str) -> Filter:
    if query.group_by == TIME:
        start = datetime.fromisoformat(name)
        end = _end(start, query.interval) - MICROSECOND
        return InferenceFilter(time_window=TimeWindow(start, end))
    key = query.key or ""
    if not name:  # the group of those without the key
        return Not(HasKey(key, "string"))
    return InferenceFilter(metadata=(MetadataFilter(key, "string", "=", name),))


def _end(start: datetime, interval: str) -> datetime:
    """Return when the interval ends that begins then."""
    if interval == "month":
        return (start + timedelta(days=32)).replace(day=1)
    return (
        start
        + {
            "hour": timedelta(hours=1),
            "day": timedelta(days=1),
            "week": timedelta(weeks=1),
        }[interval]
    )


def confusion_address(
    model: RegisteredModel, filters: Filter, actual: str, answer: str
) -> str:
    """Return the address of the inferences whose ground truth and answer have these labels."""
    asked = [filters, TruthLabelFilter(actual)]
    answered = InferenceFilter(detections=DetectionFilter((answer,)))
    return list_address(model, all_of([*asked, answered]))
