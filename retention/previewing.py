"""The preview of a policy for its page: figures, a plot by day, and a few samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from django.db import OperationalError

from inferences.models import Inference, RegisteredModel
from inferences.models.row_ids import LOWEST, first_id_at
from inferences.store.reading import join_payloads
from inferences.web.view_models.inputs import Look, looks
from istore.db import clock
from istore.db.statement_timeout import statement_timeout
from retention.models import Limits, RetentionPolicy
from retention.surveying import Survey, survey_in_time
from retention.sweeping import stale_inputs, stale_records

SAMPLES = 3  # inferences from each end, the oldest and the newest
LEAST_COLUMNS, MOST_COLUMNS = 7, 90


@dataclass(frozen=True, slots=True)
class Column:
    """One column of the plot: a day or several. Heights are percent of the highest column."""

    x: int
    first: date
    inputs: int
    records: int
    inputs_height: float
    records_height: float

    @property
    def inputs_y(self) -> float:
        return 100 - self.inputs_height

    @property
    def records_y(self) -> float:
        return 100 - self.records_height


@dataclass(frozen=True, slots=True)
class Plot:
    """The plot of what would be removed, with ``days`` days in each column."""

    columns: list[Column]
    days: int  # in each column
    first: date
    last: date

    @property
    def width(self) -> int:
        """The width in columns, at least that of a week."""
        return max(LEAST_COLUMNS, (self.last - self.first).days // self.days + 1)


@dataclass(frozen=True, slots=True)
class Preview:
    """What a policy would remove now, for its page."""

    policy: RetentionPolicy
    limits: Limits
    found: Survey
    plot: Plot | None
    samples: list[tuple[Inference, Look]]


def preview(model: RegisteredModel, terms: Mapping[str, Any]) -> Preview:
    """Return what a policy with these terms would remove at this moment."""
    policy = RetentionPolicy(model=model, **terms)
    limits = policy.limits(clock.now())
    found = survey_in_time(model, limits)
    return Preview(policy, limits, found, plot(found.days), _samples(model, limits))


def plot(days: Mapping[date, tuple[int, int]]) -> Plot | None:
    """Return a plot with at most about ``MOST_COLUMNS`` columns, or None without any day."""
    if not days:
        return None
    first, last = min(days), max(days)
    per_column = 1 + (last - first).days // MOST_COLUMNS
    sums: dict[int, tuple[int, int]] = {}
    for day, (records, inputs) in days.items():
        place = (day - first).days // per_column
        before = sums.get(place, (0, 0))
        sums[place] = before[0] + records, before[1] + inputs
    highest = max(max(both) for both in sums.values()) or 1
    columns = [
        Column(
            x=place,
            first=first + timedelta(days=place * per_column),
            inputs=inputs,
            records=records,
            inputs_height=_height(inputs, highest),
            records_height=_height(records, highest),
        )
        for place, (records, inputs) in sorted(sums.items())
    ]
    return Plot(columns, per_column, first, last)


def _height(count: int, highest: int) -> float:
    """Return the height in percent; a count above zero is always visible."""
    return round(max(100 * count / highest, 1.5), 2) if count else 0.0


def _samples(model: RegisteredModel, limits: Limits) -> list[tuple[Inference, Look]]:
    """Return a few inferences that would be removed, oldest first.

    The list is empty if finding them exceeds the statement timeout.
    """
    try:
        with statement_timeout():
            rows = _ends(model, limits)
    except OperationalError:
        return []
    shown = join_payloads(model, rows)
    found = looks(shown)
    return [(each, found[each.id]) for each in shown]


def _ends(model: RegisteredModel, limits: Limits) -> Sequence[Inference]:
    inputs = stale_inputs(model, LOWEST, first_id_at(limits.inputs)).live()
    records = stale_records(model, model.first_id, first_id_at(limits.records))
    found: dict[int, Inference] = {}
    for rows in (records, inputs):
        for ends in (rows.oldest_first(), rows.newest_first()):
            found |= {each.id: each for each in ends[:SAMPLES]}
    ordered = [found[row_id] for row_id in sorted(found)]
    if len(ordered) <= 2 * SAMPLES:
        return ordered
    return ordered[:SAMPLES] + ordered[-SAMPLES:]
