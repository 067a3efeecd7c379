"""Statistics of the values of a metadata key, over any filter.

All bins are computed here. Edges are doubles. Each bin is closed below and open above, the
last one closed at both ends.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from typing import Any, Protocol

from django.db import connection
from django.db.models import (
    BigIntegerField,
    Count,
    F,
    Max,
    Min,
    OuterRef,
    Q,
    QuerySet,
    Subquery,
    Sum,
)
from django.db.models.expressions import RawSQL

from inferences.models import (
    InferencePayload,
    InferenceQuerySet,
    MetadataKeyCount,
    RegisteredModel,
)
from inferences.models.metadata_values import LARGEST_DOUBLE, SLOT_BEGINNING
from inferences.search.counting import values_of
from inferences.search.filters import Filter, InferenceFilter
from inferences.search.filters.recheck import EXACT_WHOLE
from inferences.search.rare_label_scan import all_matching
from inferences.store.metadata_slots import SIDE_ROWS, SlotRef, place_of
from istore.hooks import Hook

RECORDS, LAKE, BOTH = "records", "lake", "records-and-lake"
BINS, BINS_MAX = 10, 10_000  # bins without a count or width; bins that are too many
Observed = QuerySet[Any]  # inferences with an annotation, ``observed``
DISTINCT_MAX = 10_000  # distinct texts in a distribution; with more it is not complete


@dataclass(frozen=True, slots=True)
class StatisticsQuery:
    """The key, type and filter to compute statistics of, and how numbers are binned."""

    key: str
    type: str
    filters: Filter = InferenceFilter()  # noqa: RUF009 (a frozen value)
    distribution_bin_count: int | None = None
    distribution_bin_width: float | None = None
    distribution_minimum_value: float | None = None
    distribution_maximum_value: float | None = None

    def __post_init__(self) -> None:
        low, high = self.distribution_minimum_value, self.distribution_maximum_value
        if self.distribution_bin_count and self.distribution_bin_width:
            raise ValueError("distribution_bin_count and _width exclude each other.")
        if low is not None and high is not None and low > high:
            raise ValueError("distribution_minimum_value is above the maximum.")
        if self.type == "string" and any(self._binning()):
            raise ValueError("Strings have no bins.")

    def _binning(self) -> list[bool]:
        given = (
            self.distribution_bin_count,
            self.distribution_bin_width,
            self.distribution_minimum_value,
            self.distribution_maximum_value,
        )
        return [value is not None for value in given]


@dataclass(frozen=True, slots=True)
class Statistics:
    """The statistics of a key; ``distribution`` has a count for each string or each bin.

    ``source`` is RECORDS, LAKE for a time range of which the store has no records any more, or
    BOTH, where inferences are added whose records the store has removed.
    """

    count: int
    distribution: dict[str, int]
    min: float | None = None
    max: float | None = None
    distinct_count: int | None = None
    is_complete: bool = True
    source: str = RECORDS


class ColdValues(Protocol):
    """The values of a key whose records the store has removed, of the inferences of a time.

    ``is_alone``: the store has no record of that time. ``is_complete`` is False where some
    values could not be told from those of records, and are left out.
    """

    is_alone: bool
    is_complete: bool
    count: int
    low: Any
    high: Any

    def texts(self) -> Statistics:
        """Return the statistics of texts."""

    def counts(self, query: StatisticsQuery, edges: list[float]) -> list[int]:
        """Return how many numbers each bin holds."""


# Returns what only an export still has of a time; None for other questions, and without values.
FindCold = Callable[[RegisteredModel, StatisticsQuery], ColdValues | None]
cold_ranges: Hook[FindCold] = Hook()


def find_cold(model: RegisteredModel, query: StatisticsQuery) -> ColdValues | None:
    """Return the values that only an export still has, or None."""
    find = cold_ranges.single
    return find(model, query) if find else None


def cold_statistics(
    model: RegisteredModel, query: StatisticsQuery
) -> Statistics | None:
    """Return the statistics of what only an export still has, or None."""
    cold = find_cold(model, query)
    if cold is None:
        return None
    if query.type == "string":
        return cold.texts()
    return replace(_of_numbers(query, [cold]), source=LAKE)


def statistics(model: RegisteredModel, query: StatisticsQuery) -> Statistics:
    """Return the statistics of a key; the type ``number`` takes int and float values together.

    Raises ValueError when there would be too many bins.
    """
    cold = find_cold(model, query)
    if query.type == "string":
        if cold and cold.is_alone:
            return cold.texts()
        found = _of_texts(model, query)
        return _add_texts(found, cold.texts()) if cold else found
    parts: list[_Numbers | ColdValues] = []
    if not (cold and cold.is_alone):
        parts += _numbers_of_records(model, query)
    if cold is None:
        return _of_numbers(query, parts)
    found = _of_numbers(query, [*parts, cold])
    source = LAKE if cold.is_alone else BOTH
    return replace(found, source=source, is_complete=cold.is_complete)


def _places(model: RegisteredModel, query: StatisticsQuery) -> dict[str, SlotRef]:
    types = ("int", "float") if query.type == "number" else (query.type,)
    return {
        type_: place
        for type_ in types
        if (place := place_of(model, query.key, type_)) is not None
    }


def _of_texts(model: RegisteredModel, query: StatisticsQuery) -> Statistics:
    place = _places(model, query).get("string")
    if place is None:
        return Statistics(0, {})
    if place.slot:
        told = values_of(model, query.filters, place.slot)
        if told is not None and not any(map(_may_be_cut, told)):
            return _of_told_strings(told)
    found = _observe(all_matching(model, query.filters), place)
    return _of_strings(model, query.key, place, found)


def _add_texts(hot: Statistics, cold: Statistics) -> Statistics:
    """Return both together. Texts that neither side lists are not counted apart."""
    counted = Counter(hot.distribution)
    counted.update(cold.distribution)
    most = sorted(counted.items(), key=lambda each: (-each[1], each[0]))[:DISTINCT_MAX]
    return Statistics(
        hot.count + cold.count,
        dict(most),
        distinct_count=len(counted),
        is_complete=hot.is_complete and cold.is_complete and len(most) == len(counted),
        source=BOTH,
    )


def _numbers_of_records(
    model: RegisteredModel, query: StatisticsQuery
) -> list[_Numbers]:
    parts = [
        _Numbers.of(
            model,
            query.key,
            type_,
            place,
            _observe(all_matching(model, query.filters), place),
        )
        for type_, place in _places(model, query).items()
    ]
    return [part for part in parts if part.count]


def _may_be_cut(text: str) -> bool:
    """Return whether a slot may hold this as the beginning of a longer text."""
    return len(text.encode()) > SLOT_BEGINNING


def _of_told_strings(told: Counter[str]) -> Statistics:
    most = sorted(told.items(), key=lambda each: (-each[1], each[0]))[:DISTINCT_MAX]
    return Statistics(
        told.total(),
        dict(most),
        distinct_count=len(told),
        is_complete=len(told) == len(most),
    )


def _observe(found: InferenceQuerySet, place: SlotRef) -> Observed:
    """Return the inferences that have the value, annotated with it as ``observed``."""
    if place.slot:
        return found.filter(**{f"{place.slot}__isnull": False}).annotate(
            observed=F(place.slot)
        )
    rows = SIDE_ROWS[place.side].objects.beside(OuterRef("registered_model"))
    value = rows.filter(id=OuterRef("id"), key=place.key_id).values("value")[:1]
    return found.annotate(observed=Subquery(value)).filter(observed__isnull=False)


def _of_strings(
    model: RegisteredModel, key: str, place: SlotRef, found: Observed
) -> Statistics:
    counts = found.values("observed").annotate(times=Count("id"), example=Min("id"))
    totals = found.aggregate(
        count=Count("id"), distinct=Count("observed", distinct=True)
    )
    most = counts.order_by("-times", "observed")[:DISTINCT_MAX]
    rows = list(most.values_list("observed", "times", "example"))
    # A slot holds a long text cut: the whole text is read from the payload of one example.
    cut = [row for row in rows if _may_be_cut(row[0])]
    whole = _given_texts(model, key, [example for _, _, example in cut])
    distribution = {whole.get(example, value): n for value, n, example in rows}
    return Statistics(
        totals["count"],
        distribution,
        distinct_count=totals["distinct"],
        is_complete=totals["distinct"] == len(distribution),
    )


def _given_texts(model: RegisteredModel, key: str, ids: list[int]) -> dict[int, str]:
    # A payload holds metadata as {key: [type, text]}.
    rows = InferencePayload.objects.beside(model).filter(id__in=ids)
    return dict(
        rows.annotate(text=RawSQL("metadata -> %s ->> 1", [key])).values_list(
            "id", "text"
        )
    )


@dataclass(frozen=True, slots=True)
class _Numbers:
    """The observations of one type, with their count, minimum and maximum."""

    found: Observed
    is_exact: bool  # has whole numbers of 2^53 or more, which are compared as numeric
    count: int
    low: Any
    high: Any

    @classmethod
    def of(
        cls,
        model: RegisteredModel,
        key: str,
        type_: str,
        place: SlotRef,
        found: Observed,
    ) -> _Numbers:
        count, low, high = _extent(found)
        if not count:
            return cls(found, False, 0, None, None)
        is_exact = type_ == "int" and max(abs(low), abs(high)) >= EXACT_WHOLE
        if is_exact and not place.slot:
            # Side rows hold doubles, which are too coarse; the payload has every digit.
            found = _as_given(model, key, found)
            count, low, high = _extent(found)
        return cls(found, is_exact, count, low, high)

    def counts(self, query: StatisticsQuery, edges: list[float]) -> list[int]:
        """Return how many observations each bin holds."""
        return _count(query, self.found, edges, exact=self.is_exact)


def _of_numbers(
    query: StatisticsQuery, parts: Sequence[_Numbers | ColdValues]
) -> Statistics:
    if not parts:
        return Statistics(0, {})
    low, high = min(part.low for part in parts), max(part.high for part in parts)
    edges = bin_edges(query, low, high)
    counts = [part.counts(query, edges) for part in parts]
    return Statistics(
        sum(part.count for part in parts),
        dict(zip(bin_names(edges), map(sum, zip(*counts, strict=True)), strict=True)),
        float(low) + 0.0,  # a negative zero is a zero
        float(high) + 0.0,
    )


def _extent(found: Observed) -> tuple[int, Any, Any]:
    totals = found.aggregate(
        count=Count("id"), low=Min("observed"), high=Max("observed")
    )
    return totals["count"], totals["low"], totals["high"]


def _as_given(model: RegisteredModel, key: str, found: Observed) -> Observed:
    """Annotate the inferences with the whole number from their payload as ``observed``."""
    payloads = InferencePayload.objects.beside(model).filter(id=OuterRef("id"))
    whole = RawSQL("(metadata -> %s ->> 1)::bigint", [key], BigIntegerField())
    observed: Observed = found.annotate(observed=Subquery(payloads.values(given=whole)))
    return observed


def bin_edges(query: StatisticsQuery, low: float, high: float) -> list[float]:
    """Return the edges of the bins, one more than there are bins; empty when no value can fit.

    Edges that are the same double are one edge, so there may be fewer bins than asked for. A
    whole number that is no double is included by rounding the outer edges away from it.
    """
    low, high = _double_below(low), -_double_below(-high)
    if query.distribution_minimum_value is not None:
        low = query.distribution_minimum_value
    if query.distribution_maximum_value is not None:
        high = query.distribution_maximum_value
    low, high = low + 0.0, high + 0.0
    if low > high:
        return []
    if low == high:
        return [low, high]
    edges = [low, *_inner_edges(query, low, high)]
    last = max(edges[-1], high) if query.distribution_bin_width else high
    inner = {edge + 0.0 for edge in edges[1:] if low < edge < last}
    return [low, *sorted(inner), last]


def _double_below(number: float) -> float:
    """Return the number as a double, or the next double below if it is not one."""
    double = float(number)
    return math.nextafter(double, -math.inf) if double > number else double


def _inner_edges(query: StatisticsQuery, low: float, high: float) -> list[float]:
    if width := query.distribution_bin_width:
        span = Decimal(high) - Decimal(low)
        if span / Decimal(width) > BINS_MAX:
            raise ValueError(f"distribution_bin_width makes more than {BINS_MAX} bins.")
        count = math.ceil(span / Decimal(width))
        # Computed as fractions and rounded once: a product of doubles may overflow.
        first, step, most = Fraction(low), Fraction(width), Fraction(LARGEST_DOUBLE)
        return [float(min(first + n * step, most)) for n in range(1, count + 1)]
    count = query.distribution_bin_count or BINS
    return [low * (1 - n / count) + high * (n / count) for n in range(1, count)]


def bin_names(edges: list[float]) -> list[str]:
    """Return a name for each bin, such as ``[0.0, 0.5)``; the last one is closed."""
    pairs = list(pairwise(edges))
    return [
        f"[{low!r}, {high!r}{']' if number == len(pairs) else ')'}"
        for number, (low, high) in enumerate(pairs, start=1)
    ]


def _count(
    query: StatisticsQuery, found: Observed, edges: list[float], *, exact: bool
) -> list[int]:
    """Return how many observations each bin holds."""
    bins = len(edges) - 1
    if bins < 1:
        return []
    limit = query.distribution_maximum_value
    last = edges[-1] if limit is None else min(edges[-1], limit)
    sql, values = found.values("observed").query.sql_with_params()
    # Beyond 2^53 doubles do not hold every whole number, so numeric is compared.
    kind = "numeric" if exact else "float8"
    bounds = [Decimal(edge) if exact else edge for edge in [*edges[:-1], last]]
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT width_bucket(observed::{kind}, %s::{kind}[]), count(*) "
            f"FROM ({sql}) AS found WHERE observed::{kind} <= %s::{kind} GROUP BY 1",
            [bounds[:-1], *values, bounds[-1]],
        )
        counted = dict(cursor.fetchall())
    # width_bucket gives 0 below the first edge: those values are in no bin.
    return [counted.get(number, 0) for number in range(1, bins + 1)]


def key_type_counts(model: RegisteredModel) -> dict[str, dict[str, int]]:
    """Return ``{key: {type: observations}}`` over all live inferences, from the counters."""
    rows = (
        MetadataKeyCount.objects.filter(registered_model=model)
        .values("key", "type")
        .annotate(n=Sum("delta"))
        .filter(~Q(n=0))
        .order_by("key", "type")
    )
    counts: dict[str, dict[str, int]] = defaultdict(dict)
    for row in rows:
        counts[row["key"]][row["type"]] = row["n"]
    return dict(counts)
