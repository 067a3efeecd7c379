"""Statistics of a set of inferences: labels, scores, latencies, one metadata key.

They count all matches if that stays within the timeout, else the newest ``SAMPLE``, and
say which. Latencies are stored in payload rows, and always cover the newest ``TIMED``.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.core.exceptions import EmptyResultSet
from django.db import OperationalError, connection

from inferences.models import InferencePayload, LabelName, RegisteredModel
from inferences.search import counting
from inferences.search.filters import Filter
from inferences.search.filters.metadata import KINDS
from inferences.search.rare_label_scan import all_matching
from inferences.store.metadata_slots import place_of
from inferences.web.view_models.colours import colours_of
from inferences.web.view_models.facets import by_name
from inferences.web.view_models.histograms import Histogram, histogram
from inferences.web.view_models.questions import TEXTS
from inferences.web.view_models.sampling import SAMPLE, sample, values_at
from inferences.web.view_models.timeline import timeline
from istore.db.statement_timeout import statement_timeout

EACH_SECONDS = 2.0
TIMED = 2_000
LABELS_SHOWN = 60
VALUES_SHOWN = 40
BINS = 40
PERCENTILES = (50, 90, 95, 99)
STEPS = ("Proxy", "Model", "Capture", "Listener", "In all")


@dataclass(frozen=True, slots=True)
class Counted:
    """Counts by name; ``of`` is the total to which shares refer."""

    counts: Counter[str]
    of: int
    is_whole: bool


def labels(model: RegisteredModel, filters: Filter) -> Counted:
    """Return the number of inferences that have each label."""
    sql = (
        "SELECT label, count(*) FROM (SELECT DISTINCT found.id, each.label FROM "
        "({rows}) AS found, unnest(found.labels) AS each (label)) AS pairs GROUP BY 1"
    )
    told = counting.values_of(model, filters, "labels")
    if told is not None:
        rows: list[tuple[Any, ...]] | None = [(int(n), told[n]) for n in told]
    else:
        rows = aggregate(model, filters, ("id", "labels"), sql)
    if rows is not None:
        numbers, is_whole = Counter(dict(rows)), True
    else:
        drawn = _draw(model, filters)
        numbers, is_whole = Counter(), drawn.is_whole
        for row in drawn.rows:
            numbers.update(set(row.labels or ()))
    found = by_name(LabelName, numbers)
    return Counted(found, found.total(), is_whole)


def scores(
    model: RegisteredModel, filters: Filter, limits: tuple[float, float] | None = None
) -> Histogram | None:
    """Return the distribution of the scores of all detections.

    It spans 0 to 1, or further if scores do, or the limits of the set it is compared with.
    """
    sql = (
        "SELECT width_bucket(score, 0, 1, {bins}), count(*), min(score), max(score) "
        "FROM ({rows}) AS found, unnest(found.scores) AS each (score) "
        "WHERE score IS NOT NULL GROUP BY 1"
    ).replace("{bins}", str(BINS))
    told = None if limits else counting.scores_of(model, filters, BINS)
    if told is not None:
        return _fill(told) if any(told) else None
    rows = None if limits else aggregate(model, filters, ("scores",), sql)
    if rows is not None and all(low >= 0 and high <= 1 for _, _, low, high in rows):
        counts = {min(place, BINS): 0 for place, *_ in rows}
        for place, number, _, _ in rows:
            counts[min(place, BINS)] += number
        return _fill([counts.get(n, 0) for n in range(1, BINS + 1)]) if rows else None
    drawn = _draw(model, filters)
    found = [s for row in drawn.rows for s in row.scores or () if s is not None]
    if not found:
        return None
    low, high = limits or (min(0.0, *found), max(1.0, *found))
    return histogram(found, low, high, BINS, drawn.is_whole)


def _fill(counts: Sequence[int]) -> Histogram:
    middles = [(n + 0.5) / BINS for n in range(BINS)]
    empty = histogram(middles, 0.0, 1.0, BINS, True)
    peak = max(counts) or 1
    bins = [
        type(each)(each.low, each.high, count, round(100 * count / peak, 2))
        for each, count in zip(empty.bins, counts, strict=True)
    ]
    return Histogram(bins, 0.0, 1.0, True)


def aggregate(
    model: RegisteredModel, filters: Filter, columns: Sequence[str], sql: str
) -> list[tuple[Any, ...]] | None:
    """Return the rows of an aggregate over all matches.

    None if it exceeds the timeout, or while older rows still hold a distribution as labels.
    """
    if model.awaits_classes:
        return None
    try:
        found = all_matching(model, filters).order_by().values(*columns)
        rows, values = found.query.sql_with_params()
    except EmptyResultSet:
        return []
    try:
        with statement_timeout(EACH_SECONDS), connection.cursor() as cursor:
            cursor.execute(sql.replace("{rows}", rows), values)
            counted: list[tuple[Any, ...]] = cursor.fetchall()
    except OperationalError:
        return None
    return counted


def _draw(model: RegisteredModel, filters: Filter) -> Any:
    with statement_timeout(EACH_SECONDS):
        return sample(model, filters)


@dataclass(frozen=True, slots=True)
class Latency:
    """The latency of one step: percentiles in the order of ``PERCENTILES``."""

    name: str
    percentiles: list[timedelta]
    longest: timedelta


@dataclass(frozen=True, slots=True)
class Latencies:
    """The latencies of all steps."""

    steps: list[Latency]
    model: Histogram | None  # the time in the model, in milliseconds
    count: int


def latencies(
    model: RegisteredModel, filters: Filter, limits: tuple[float, float] | None = None
) -> Latencies:
    """Return how long each step between the five recorded times took."""
    with statement_timeout(EACH_SECONDS):
        drawn = sample(model, filters, ("id",), TIMED)
        rows = InferencePayload.objects.beside(model)
        notes = rows.filter(id__in=drawn.ids)
        found = [timeline(each) for each in notes.values_list("notes", flat=True)]
    took: dict[str, list[float]] = {name: [] for name in STEPS}
    timed = [each for each in found if each]
    for each in timed:
        for step in each.steps:
            if step.took is not None and step.name in took:
                took[step.name].append(step.took.total_seconds())
        took["In all"].append(each.total.total_seconds())
    steps = [
        Latency(
            name,
            [timedelta(seconds=_percentile(sorted(t), p)) for p in PERCENTILES],
            timedelta(seconds=max(t)),
        )
        for name, t in took.items()
        if t
    ]
    shown = None
    if milliseconds := [1000 * each for each in took["Model"]]:
        high = _percentile(sorted(milliseconds), 99) * 1.1 or 1.0
        high = limits[1] if limits else high
        within = [millisecond for millisecond in milliseconds if millisecond <= high]
        shown = histogram(within, 0.0, high, BINS, True)
    return Latencies(steps, shown, len(timed))


def _percentile(values: Sequence[float], percent: float) -> float:
    """Return the percentile by nearest rank: the smallest value with that share at or below."""
    return values[max(math.ceil(len(values) * percent / 100) - 1, 0)]


@dataclass(frozen=True, slots=True)
class KeySummary:
    """The values of a metadata key: ``counted`` for texts, a ``histogram`` for numbers."""

    counted: Counted | None = None
    histogram: Histogram | None = None
    count: int = 0
    mean: float | None = None
    is_whole: bool = True


def of_key(
    model: RegisteredModel,
    filters: Filter,
    key: str,
    type_: str,
    limits: tuple[float, float] | None = None,
) -> KeySummary | None:
    """Return the summary of a key; None if the model does not have the key."""
    place = place_of(model, key, KINDS[type_])
    if place is None:
        return None
    if type_ in TEXTS and place.slot:
        with statement_timeout(EACH_SECONDS):
            told = counting.values_of(model, filters, place.slot)
        if told is not None:
            return KeySummary(Counted(told, told.total(), True), count=told.total())
    with statement_timeout(EACH_SECONDS):
        values, is_whole = values_at(model, filters, place, 4 * SAMPLE)
    if type_ in TEXTS:
        counted = Counted(Counter(values), len(values), is_whole)
        return KeySummary(counted, None, len(values), is_whole=is_whole)
    if not values:
        return KeySummary(is_whole=is_whole)
    low, high = float(min(values)), float(max(values))
    first, last, bins = _bins(*(limits or (low, high)), type_)
    return KeySummary(
        None,
        histogram([float(v) for v in values], first, last, bins, is_whole),
        len(values),
        math.fsum(values) / len(values),
        is_whole,
    )


@dataclass(frozen=True, slots=True)
class Compared:
    """A name in both sets, with its share in percent of each set."""

    name: str
    hue: int
    counts: list[int]
    shares: list[float]

    @property
    def difference(self) -> float:
        return round(self.shares[-1] - self.shares[0], 1)


def compare(
    model: RegisteredModel, sides: Sequence[Counted], most: int
) -> list[Compared]:
    """Return the names of all sets, most frequent first."""
    total: Counter[str] = Counter()
    for side in sides:
        total.update(side.counts)
    return [
        Compared(
            name,
            colours_of(model)(name),
            [side.counts[name] for side in sides],
            [round(100 * side.counts[name] / (side.of or 1), 1) for side in sides],
        )
        for name, _ in total.most_common(most)
    ]


def _bins(low: float, high: float, type_: str) -> tuple[float, float, int]:
    """Return the ends and the number of bins: few whole numbers have a bin each."""
    if type_ in ("int", "json.int") and 0 < high - low < BINS:
        whole = math.floor(low), math.floor(high) + 1
        return float(whole[0]), float(whole[1]), whole[1] - whole[0]
    return low, high, BINS
