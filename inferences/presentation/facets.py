"""What each filter would leave: choices with counts, histograms to drag on.

A choice is counted over what all *other* filters leave, so that a second label of the
same list says what it would add. Counted is the newest ``SAMPLE`` of it; the page says
so where more match.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from django.core.exceptions import EmptyResultSet
from django.db import OperationalError, connection

from inferences.directory import place_of
from inferences.filters import Filter, matching
from inferences.filters.ground_truth import TruthFilter
from inferences.filters.metadata import KINDS
from inferences.filters.tree import all_of
from inferences.models import InferenceAction, LabelName, RegisteredModel, SourceName
from inferences.presentation.answers import hue
from inferences.presentation.questions import TEXTS, TRUTHS, Question
from inferences.presentation.sampling import Sample, sample, values_at
from inferences.querying import count_matching
from inferences.row_ids import first_id_at, moment_of
from istore.deadline import deadline

FACET_SECONDS = 1.5  # of each statement; what takes longer is counted of the sample
VOLUME_BUCKETS = 72
SCORE_BINS = 25
VALUE_BINS = 24
CHOICES_MAX = 40
VALUES_MAX = 12
POINTS_MAX = 1_500
TRUTHS_MOST, TRUTH_SECONDS = 1_000, 0.5


@dataclass(frozen=True, slots=True)
class Choice:
    """One value to choose, and how many inferences it would leave."""

    name: str
    count: int | None = None
    is_on: bool = False
    share: float = 0  # of the largest count, in percent
    hue: int | None = None
    value: str = ""  # as the form sends it, if that is not the name
    is_more: bool = False  # there are more than were counted


@dataclass(frozen=True, slots=True)
class Bin:
    low: Any
    high: Any
    count: int
    height: float  # in percent

    @property
    def y(self) -> float:
        return 100 - self.height


@dataclass(frozen=True, slots=True)
class Histogram:
    """Bins of equal width from ``low`` to ``high``, in the unit of its control."""

    bins: list[Bin]
    low: Any
    high: Any
    is_whole: bool = True

    @property
    def total(self) -> int:
        return sum(each.count for each in self.bins)


@dataclass(frozen=True, slots=True)
class Facets:
    sample: Sample
    labels: list[Choice] = field(default_factory=list)
    sources: list[Choice] = field(default_factory=list)
    actions: list[Choice] = field(default_factory=list)
    presets: list[Choice] = field(default_factory=list)
    truths: list[Choice] = field(default_factory=list)
    scores: Histogram | None = None
    volume: Histogram | None = None
    points: str = ""
    placed: int = 0


def facets(model: RegisteredModel, question: Question) -> Facets:
    """Raises ``ValidationError`` where a filter cannot be read, ``OperationalError``
    when finding the newest matches takes too long."""
    drawn: dict[Filter, Sample] = {}

    def newest(*without: str) -> Sample:
        filters = question.filters_without(*without)
        if filters not in drawn:
            with deadline(FACET_SECONDS):
                drawn[filters] = sample(model, filters)
        return drawn[filters]

    whole = newest()
    scored = newest("min_score", "max_score")
    placed = newest("near", "within")
    points = [
        (row.longitude, row.latitude)
        for row in placed.rows
        if row.latitude is not None and row.longitude is not None
    ]
    return Facets(
        whole,
        labels=_labels(model, question, newest("label")),
        sources=_sources(model, question, newest("source")),
        actions=_actions(question, newest("action")),
        presets=_presets(question, newest("since", "until")),
        truths=_truths(model, question),
        scores=_scores(model, question, scored),
        volume=volume(model, question, whole),
        points=";".join(f"{x:.5g},{y:.5g}" for x, y in points[:POINTS_MAX]),
        placed=len(points),
    )


def _choices(
    counts: Counter[str],
    chosen: Iterable[str],
    most: int = CHOICES_MAX,
    hue_of: Callable[[str], int] | None = None,
    written: Callable[[str], str] = str,
) -> list[Choice]:
    """The most frequent, and all that are chosen."""
    chosen = list(chosen)
    names = [name for name, _ in counts.most_common(most)]
    names = list(dict.fromkeys([*names, *chosen]))
    largest = max(counts.values(), default=0) or 1
    return [
        Choice(
            name,
            counts[name],
            name in chosen,
            round(100 * counts[name] / largest, 1),
            hue_of(name) if hue_of else None,
            written(name),
        )
        for name in names
    ]


def _labels(model: RegisteredModel, question: Question, drawn: Sample) -> list[Choice]:
    low, high = _bounds(question)
    numbers: Counter[int] = Counter()
    for row in drawn.rows:
        pairs = zip(row.labels or (), row.scores or (), strict=True)
        numbers.update({label for label, score in pairs if _within(score, low, high)})
    counts = by_name(LabelName, numbers)
    return _choices(
        counts, question.labels, hue_of=lambda name: hue(name, model.class_labels)
    )


def by_name(table: type[LabelName | SourceName], numbers: Counter[int]) -> Counter[str]:
    """The counts under their names; a name that has gone meanwhile is left out."""
    names = table.objects.in_bulk(list(numbers))
    return Counter({names[n].name: numbers[n] for n in numbers.keys() & names.keys()})


def _bounds(question: Question) -> tuple[float, float]:
    given = question.values
    low, high = given["min_score"], given["max_score"]
    return (
        -math.inf if low is None else float(low),
        math.inf if high is None else float(high),
    )


def _within(score: float | None, low: float, high: float) -> bool:
    if score is None:
        return (low, high) == (-math.inf, math.inf)
    # Scores are held in four bytes.
    return low - 1e-7 <= score <= high + 1e-7


def _sources(model: RegisteredModel, question: Question, drawn: Sample) -> list[Choice]:
    numbers = Counter(row.source_id for row in drawn.rows if row.source_id)
    return _choices(by_name(SourceName, numbers), question.query.getlist("source"))


def _actions(question: Question, drawn: Sample) -> list[Choice]:
    counts = Counter(InferenceAction(row.inference_action).label for row in drawn.rows)
    return _choices(counts, question.query.getlist("action"))


def _presets(question: Question, drawn: Sample) -> list[Choice]:
    """How many each window up to now would leave; None where the sample ends before."""
    found = []
    for value, title, _, is_on in question.presets:
        since = question.beginning_of(value)
        number = sum(row.id >= first_id_at(since) for row in drawn.rows)
        known = drawn.is_whole or number < len(drawn)
        found.append(Choice(title, number if known else None, is_on, value=value))
    return found


def truth_choices(question: Question) -> list[Choice]:
    """The states of ground truth, nothing counted yet."""
    given = question.query.get("truth")
    return [
        Choice(title, None, name == given, value=name) for name, title in TRUTHS.items()
    ]


def _truths(model: RegisteredModel, question: Question) -> list[Choice]:
    """How many each state would leave, counted to ``TRUTHS_MOST`` and for a while."""
    rest = question.filters_without("truth")
    found = []
    for choice in truth_choices(question):
        try:
            with deadline(TRUTH_SECONDS):
                filters = all_of([rest, TruthFilter(choice.value)])
                count = count_matching(model, filters, TRUTHS_MOST)
        except (OperationalError, ValueError):  # too slow, or a condition too many
            found.append(choice)
            continue
        found.append(replace(choice, count=count.number, is_more=not count.is_exact))
    return found


def _scores(
    model: RegisteredModel, question: Question, drawn: Sample
) -> Histogram | None:
    known = LabelName.objects.filter(registered_model=model, name__in=question.labels)
    wanted = set(known.values_list("id", flat=True)) if question.labels else None
    found = []
    for row in drawn.rows:
        for label, score in zip(row.labels or (), row.scores or (), strict=True):
            if score is not None and (wanted is None or label in wanted):
                found.append(score)
    if not found:
        return None
    low, high = min(0.0, *found), max(1.0, *found)
    return histogram(found, low, high, SCORE_BINS, drawn.is_whole)


def histogram(
    values: Sequence[float], low: float, high: float, bins: int, is_whole: bool
) -> Histogram:
    """Equal bins, each closed below and open above, the last one closed at both ends."""
    if high <= low:
        high = max(low + 1, math.nextafter(low, math.inf))
    counts = [0] * bins
    # In halves: the whole span of doubles is none.
    span = high / 2 - low / 2
    for value in values:
        place = int((value / 2 - low / 2) / span * bins) if span else 0
        counts[min(max(place, 0), bins - 1)] += 1
    edges = [low * (1 - n / bins) + high * (n / bins) for n in range(bins)] + [high]
    return Histogram(_bins(edges, counts), low, high, is_whole)


def _bins(edges: Sequence[Any], counts: Sequence[int]) -> list[Bin]:
    peak = max(counts, default=0) or 1
    return [
        Bin(low, high, count, round(max(100 * count / peak, 3), 1) if count else 0)
        for low, high, count in zip(edges, edges[1:], counts, strict=False)
    ]


# -- volume over time


def window_of(model: RegisteredModel, question: Question) -> tuple[datetime, datetime]:
    """From when until when: what is asked for, else all there is of the model.

    Raises ``OperationalError`` when finding the oldest takes too long.
    """
    given = question.values
    now = datetime.now(UTC)
    since, until = given["since"], given["until"]
    if since is None:
        # What was removed lies before: it is not walked over.
        live = model.inferences.live().filter(id__gte=model.first_id)
        with deadline(FACET_SECONDS):
            oldest = live.oldest_first().values_list("id", flat=True).first()
        since = moment_of(oldest) if oldest else now - timedelta(days=1)
    until = until or now
    return since, until if until > since else since + timedelta(minutes=1)


def volume(
    model: RegisteredModel, question: Question, drawn: Sample
) -> Histogram | None:
    """How many over time: of all that match if that is counted in time, else of the
    newest."""
    if not drawn.rows:
        return None
    since, until = window_of(model, question)
    step = (until - since) / VOLUME_BUCKETS
    edges = [since + n * step for n in range(VOLUME_BUCKETS)] + [until]
    limits = [first_id_at(edge) for edge in edges]
    counts, is_whole = None, True
    if not drawn.is_whole:
        counts = counted_by_time(model, question.filters, limits)
        is_whole = counts is not None
    if counts is None:
        counts = _placed([row.id for row in drawn.rows], limits)
    return Histogram(_bins(edges, counts), since, until, is_whole)


def _placed(ids: Iterable[int], limits: Sequence[int]) -> list[int]:
    low, width = limits[0], (limits[-1] - limits[0]) or 1
    counts = [0] * (len(limits) - 1)
    for row_id in ids:
        place = (row_id - low) * len(counts) // width
        counts[min(max(place, 0), len(counts) - 1)] += 1
    return counts


def counted_by_time(
    model: RegisteredModel, filters: Filter, limits: Sequence[int]
) -> list[int] | None:
    """How many match between each two ids; None when that takes too long."""
    try:
        sql, values = matching(model, filters).values("id").query.sql_with_params()
    except EmptyResultSet:
        return [0] * (len(limits) - 1)
    try:
        with deadline(FACET_SECONDS), connection.cursor() as cursor:
            cursor.execute(
                "SELECT width_bucket(id, %s::bigint[]), count(*) "
                f"FROM ({sql}) AS found GROUP BY 1",
                [list(limits[:-1]), *values],
            )
            counts = dict(cursor.fetchall())
    except OperationalError:
        return None
    return [counts.get(n, 0) for n in range(1, len(limits))]


# -- one metadata key


@dataclass(frozen=True, slots=True)
class KeyFacet:
    """The values of a key: ``choices`` of a text, a ``histogram`` of numbers."""

    key: str
    type: str
    choices: list[Choice] = field(default_factory=list)
    histogram: Histogram | None = None
    more: int = 0  # values that are not among the choices
    is_whole: bool = True
    low: str = ""
    high: str = ""

    @property
    def is_text(self) -> bool:
        return self.type in TEXTS

    @property
    def is_chosen(self) -> bool:
        return bool(self.low or self.high) or any(c.is_on for c in self.choices)


def plain_key(question: Question, key: str, type_: str) -> KeyFacet:
    """The key with what is asked of it, and nothing counted yet."""
    if type_ in TEXTS:
        picked = question.picked(key, type_)
        return KeyFacet(
            key,
            type_,
            [Choice(v, None, True, value=f"{key}:{type_}={v}") for v in picked],
        )
    low, high = question.range(key, type_)
    return KeyFacet(key, type_, low=low, high=high)


def key_facet(
    model: RegisteredModel, question: Question, key: str, type_: str
) -> KeyFacet:
    place = place_of(model, key, KINDS[type_])
    if place is None:
        return plain_key(question, key, type_)
    filters = question.filters_without(key=(key, type_))
    with deadline(FACET_SECONDS):
        values, is_whole = values_at(model, filters, place)
    if type_ in TEXTS:
        counts = Counter(values)
        picked = question.picked(key, type_)
        choices = _choices(
            counts, picked, VALUES_MAX, written=lambda v: f"{key}:{type_}={v}"
        )
        more = len(counts.keys() - {each.name for each in choices})
        return KeyFacet(key, type_, choices, None, more, is_whole)
    low, high = question.range(key, type_)
    found = None
    if values:
        bins = VALUE_BINS
        if type_ == "int":  # a bin for each number, while they are few
            bins = min(bins, max(int(max(values)) - int(min(values)), 1))
        least, most = float(min(values)), float(max(values))
        found = histogram(values, least, most, bins, is_whole)
    return KeyFacet(key, type_, [], found, 0, is_whole, low, high)


def preset_choices(question: Question) -> list[Choice]:
    """The windows up to now, nothing counted yet."""
    return [
        Choice(title, None, is_on, value=value)
        for value, title, _, is_on in question.presets
    ]
