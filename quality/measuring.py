"""Measure quality: a query says which rows and how to group them, and gets figures.

At most ``ISTORE_QUALITY_ROWS`` rows are read, newest first, and the result says whether
those were all. Rows with another form of ground truth than the measured one, and rows whose
answer holds nothing that can be compared, are counted beside the figures.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import chain, islice

from django.conf import settings
from django.db.models import Max, Min

from inferences.ground_truth.truths import FORMS
from inferences.models import GroundTruth, RegisteredModel
from inferences.models.row_ids import moment_of
from inferences.predictions.model_types import type_of
from inferences.search.filters import Filter, InferenceFilter
from quality.figures import accumulators
from quality.figures.base import Accumulator, Figures, Settings
from quality.rows import Row, rows_with_truth

GROUPS_MOST = 100
LOOKED_AT = 1000  # the first rows: their most frequent form of ground truth is measured
INTERVALS = ("hour", "day", "week", "month")
# Up to which length of time an interval is a group of its own, where nobody chose one.
FITTING = {
    "hour": timedelta(days=3),
    "day": timedelta(days=60),
    "week": timedelta(days=400),
}
# Names of groups, with the metadata keys that they stand for.
KEYS = {
    "version": "model_version",
    "environment": "environment",
    "conversation": "conversation_id",
    "batch": "batch_id",
}
METADATA = "metadata."
TIME = "time"


@dataclass(frozen=True, slots=True)
class QualityQuery:
    """Which rows to measure, and how to group them.

    ``group_by`` is time, version, environment, batch, conversation or metadata.<key>.
    ``form`` is a form of ground truth; without one it is that of most of the first rows.
    """

    filters: Filter = field(default_factory=InferenceFilter)
    group_by: str | None = None
    interval: str = "day"
    form: str | None = None
    threshold: float = 0.5
    label: str | None = None
    limit: int | None = None

    def __post_init__(self) -> None:
        if self.form is not None and self.form not in FORMS:
            raise ValueError(f"form is one of {', '.join(FORMS)}.")
        if self.interval not in INTERVALS:
            raise ValueError(f"interval is one of {', '.join(INTERVALS)}.")
        if self.group_by and self.group_by != TIME and self.key is None:
            raise ValueError(
                f"group_by is one of time, {', '.join(KEYS)} and metadata.<key>."
            )

    @property
    def key(self) -> str | None:
        """The metadata key whose values are the groups, or None."""
        name = self.group_by or ""
        if name.startswith(METADATA):
            return name.removeprefix(METADATA) or None
        return KEYS.get(name)

    @property
    def most(self) -> int:
        most = settings.ISTORE_QUALITY_ROWS
        return min(self.limit or most, most)


@dataclass(frozen=True, slots=True)
class Group:
    """The figures of one group; its name is a value, or the start of an interval."""

    name: str
    figures: Figures


@dataclass(slots=True)
class Quality:
    """The result: ``considered`` rows were read; ``is_complete`` if no more have ground truth."""

    form: str | None
    considered: int
    is_complete: bool
    figures: Figures
    groups: list[Group] = field(default_factory=list)
    not_comparable: int = 0
    other_forms: dict[str, int] = field(default_factory=dict)
    groups_left_out: int = 0  # rows of groups beyond the first GROUPS_MOST


def measure(model: RegisteredModel, query: QualityQuery) -> Quality:
    """Return the figures of the rows that match, newest first, up to the allowed number."""
    rows = rows_with_truth(model, query.filters, query.key, query.most + 1)
    first, form = _form(model, query, rows)
    made = Settings(query.threshold, query.label)
    whole = accumulators()[form or "labels"](made)
    quality = Quality(form, 0, True, Figures(0, {}))
    others: Counter[str] = Counter()
    groups: dict[str, Accumulator] = {}
    for row in first:
        if quality.considered == query.most:
            quality.is_complete = False
            break
        quality.considered += 1
        if row.form != form:
            others[row.form] += 1
        elif not whole.add(row.truth, row.predicted):
            quality.not_comparable += 1
        elif query.group_by:
            _add(groups, row, query, quality)
    quality.other_forms = dict(others)
    quality.figures = whole.figures(whole=True)
    quality.groups = [
        Group(name, each.figures(whole=False)) for name, each in sorted(groups.items())
    ]
    return quality


def fitting_interval(model: RegisteredModel) -> str:
    """Return the interval that divides the time of the model's ground truth into some dozens."""
    ids = GroundTruth.objects.beside(model).aggregate(first=Min("id"), last=Max("id"))
    if ids["first"] is None:
        return "day"
    passed = moment_of(ids["last"]) - moment_of(ids["first"])
    return next((name for name, most in FITTING.items() if passed <= most), "month")


def _form(
    model: RegisteredModel, query: QualityQuery, rows: Iterator[Row]
) -> tuple[Iterator[Row], str | None]:
    """Return an iterator over all rows, and the form of ground truth to measure."""
    if query.form:
        return rows, query.form
    first = list(islice(rows, LOOKED_AT))
    counted = Counter(row.form for row in first)
    usual = type_of(model.task_type).forms
    form = max(
        counted, key=lambda name: (counted[name], name in usual, name), default=None
    )
    return chain(first, rows), form


def _add(
    groups: dict[str, Accumulator], row: Row, query: QualityQuery, quality: Quality
) -> None:
    name = _named(row, query)
    if name not in groups:
        if len(groups) == GROUPS_MOST:
            quality.groups_left_out += 1
            return
        groups[name] = accumulators()[row.form](Settings(query.threshold, query.label))
    groups[name].add(row.truth, row.predicted)


def _named(row: Row, query: QualityQuery) -> str:
    if query.group_by == TIME:
        return _beginning(row.moment, query.interval).isoformat().replace("+00:00", "Z")
    return row.value or ""


def _beginning(moment: datetime, interval: str) -> datetime:
    hour = moment.replace(minute=0, second=0, microsecond=0)
    if interval == "hour":
        return hour
    day = hour.replace(hour=0)
    if interval == "week":
        return day - timedelta(days=day.weekday())
    return day.replace(day=1) if interval == "month" else day
