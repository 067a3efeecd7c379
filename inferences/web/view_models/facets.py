"""Facets: the choices of each filter with counts, and histograms to drag on.

A choice is counted over the matches of all *other* filters, so that a second label of the
same list shows what it would add. Labels, sources, actions and texts are counted exactly where
the summaries of segments tell: for windows, labels, sources, actions and keys of few values, and
all that AND, OR and NOT make of them. Else the newest ``SAMPLE`` matches are counted; the page
says so if more match.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from operator import neg

from django.db import OperationalError

from inferences.models import InferenceAction, LabelName, RegisteredModel, SourceName
from inferences.models.row_ids import first_id_at
from inferences.search import counting
from inferences.search.filters import Filter
from inferences.search.filters.all_kinds import PARAMETERS
from inferences.search.filters.kind import Parameter
from inferences.search.filters.metadata import KINDS
from inferences.store.metadata_slots import place_of
from inferences.web.view_models.colours import colours_of
from inferences.web.view_models.histograms import Histogram, bins_of, histogram
from inferences.web.view_models.questions import TEXTS, Question
from inferences.web.view_models.sampling import (
    Sample,
    count_among,
    count_by_paths,
    sample,
    values_at,
)
from inferences.web.view_models.volume import volume
from istore.db.statement_timeout import statement_timeout

FACET_SECONDS = 1.5  # timeout of each statement; then only the sample is counted
SCORE_BINS = 25
VALUE_BINS = 24
CHOICES_MAX = 40
VALUES_MAX = 12
POINTS_MAX = 1_500
CHOICE_SECONDS = 0.5
# The facets that summaries of segments may tell, with their columns.
EXACT_COLUMNS = {"label": "labels", "source": "source_id", "action": "inference_action"}


@dataclass(frozen=True, slots=True)
class Choice:
    """One value to choose, and the number of inferences that would match."""

    name: str
    count: int | None = None
    is_on: bool = False
    share: float = 0  # the count in percent of the largest count
    hue: int | None = None
    value: str = ""  # the form's value, if it differs from the name

    @property
    def classes(self) -> str:
        """The CSS classes of its row: the hue of its label, and whether nothing matches."""
        hue = "" if self.hue is None else f"hue-{self.hue}"
        return f"{hue} nil".lstrip() if self.count == 0 and not self.is_on else hue


@dataclass(frozen=True, slots=True)
class Chooser:
    """The choices of a parameter whose titles its kind of filter declares."""

    parameter: Parameter
    given: str  # the value of the parameter
    choices: list[Choice]

    @property
    def name(self) -> str:
        """What begins the ids of its controls."""
        return self.parameter.name.removesuffix("s")


@dataclass(frozen=True, slots=True)
class Facets:
    """All facets of the filter panel."""

    sample: Sample
    exact: list[str] = field(default_factory=list)  # what is not of the sample alone
    labels: list[Choice] = field(default_factory=list)
    sources: list[Choice] = field(default_factory=list)
    actions: list[Choice] = field(default_factory=list)
    presets: list[Choice] = field(default_factory=list)
    choosers: list[Chooser] = field(default_factory=list)
    scores: Histogram | None = None
    volume: Histogram | None = None
    points: str = ""
    placed: int = 0


def count_facets(model: RegisteredModel, question: Question) -> Facets:
    """Return all facets of a query.

    Raises ``ValidationError`` if a filter is not valid, and ``OperationalError`` if finding
    the newest matches exceeds the timeout.
    """
    drawn: dict[Filter, Sample] = {}

    def newest(*without: str) -> Sample:
        filters = question.filters_without(*without)
        if filters not in drawn:
            with statement_timeout(FACET_SECONDS):
                drawn[filters] = sample(model, filters)
        return drawn[filters]

    exact: dict[str, Counter[str]] = {}
    for name, column in EXACT_COLUMNS.items():
        found = _count_all_values(
            model, question.filters_without(name), column, newest(name)
        )
        if found is not None:
            exact[name] = found
    whole = newest()
    scored = newest("min_score", "max_score")
    placed = newest("near", "within")
    labels = _labels(model, question, newest("label"), exact.get("label"))
    sources = _sources(model, question, newest("source"), exact.get("source"))
    actions = _actions(question, newest("action"), exact.get("action"))
    scores = _scores(model, question, scored)
    # After the others: they may have read the rows whole.
    points = [
        (row.longitude, row.latitude)
        for row in placed.places
        if row.latitude is not None and row.longitude is not None
    ]
    return Facets(
        whole,
        exact=[f"{name}s" for name in exact],
        labels=labels,
        sources=sources,
        actions=actions,
        presets=_presets(question, newest("since", "until")),
        choosers=[
            _counted(model, each, newest(each.parameter.name))
            for each in choosers(question)
        ],
        scores=scores,
        volume=volume(model, question, whole),
        points=";".join(f"{x:.5g},{y:.5g}" for x, y in points[:POINTS_MAX]),
        placed=len(points),
    )


def _count_all_values(
    model: RegisteredModel, filters: Filter, column: str, drawn: Sample
) -> Counter[str] | None:
    """Return the counts of a column over all matches; None if the sample has to do."""
    if drawn.is_whole:
        return None
    try:
        with statement_timeout(FACET_SECONDS):
            return counting.values_of(model, filters, column)
    except OperationalError:
        return None


def _choices(
    counts: Counter[str],
    chosen: Iterable[str],
    most: int = CHOICES_MAX,
    hue_of: Callable[[str], int] | None = None,
    written: Callable[[str], str] = str,
) -> list[Choice]:
    """Return the most frequent values, and all that are chosen."""
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


def _labels(
    model: RegisteredModel,
    question: Question,
    drawn: Sample,
    exact: Counter[str] | None,
) -> list[Choice]:
    low, high = _bounds(question)
    numbers = _numbers(exact)
    for row in () if exact is not None else drawn.rows:
        pairs = zip(row.labels or (), row.scores or (), strict=True)
        numbers.update({label for label, score in pairs if _within(score, low, high)})
    counts = by_name(LabelName, numbers)
    return _choices(counts, question.labels, hue_of=colours_of(model))


def by_name(table: type[LabelName | SourceName], numbers: Counter[int]) -> Counter[str]:
    """Return the counts by name; numbers whose name was removed meanwhile are left out."""
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
    # Scores are stored as four-byte floats.
    return low - 1e-7 <= score <= high + 1e-7


def _numbers(exact: Counter[str] | None) -> Counter[int]:
    return Counter({int(name): number for name, number in (exact or {}).items()})


def _sources(
    model: RegisteredModel,
    question: Question,
    drawn: Sample,
    exact: Counter[str] | None,
) -> list[Choice]:
    numbers = _numbers(exact)
    if exact is None:
        numbers = Counter(row.source_id for row in drawn.rows if row.source_id)
    return _choices(by_name(SourceName, numbers), question.query.getlist("source"))


def _actions(
    question: Question, drawn: Sample, exact: Counter[str] | None
) -> list[Choice]:
    numbers = _numbers(exact)
    if exact is None:
        numbers = Counter(row.inference_action for row in drawn.rows)
    counts = Counter({InferenceAction(n).label: count for n, count in numbers.items()})
    return _choices(counts, question.query.getlist("action"))


def _presets(question: Question, drawn: Sample) -> list[Choice]:
    """Return the time windows up to now with counts.

    A count is None if the sample ends within the window, as more may match then.
    """
    found = []
    for value, title, _, is_on in question.presets:
        first = first_id_at(question.beginning_of(value))
        number = bisect_right(drawn.ids, -first, key=neg)  # newest first
        known = drawn.is_whole or number < len(drawn)
        found.append(Choice(title, number if known else None, is_on, value=value))
    return found


def choosers(question: Question) -> list[Chooser]:
    """Return what the panel offers of states such as those of ground truth, without counts."""
    return [
        _chooser(each, question.query.get(each.name, ""))
        for each in PARAMETERS.values()
        if each.titles
    ]


def _chooser(parameter: Parameter, given: str) -> Chooser:
    # Another name may mean the same: true is yes.
    chosen = parameter.choices.get(given)
    choices = [
        Choice(title, None, parameter.choices[name] == chosen, value=name)
        for name, title in parameter.titles.items()
    ]
    return Chooser(parameter, given, choices)


def _counted(model: RegisteredModel, chooser: Chooser, drawn: Sample) -> Chooser:
    """Return the choices with counts, or without if counting takes too long."""
    asked = [chooser.parameter.choices[each.value] for each in chooser.choices]
    counts: list[int | None] = [None] * len(asked)
    with suppress(OperationalError), statement_timeout(CHOICE_SECONDS):
        counts = count_by_paths(model, asked, drawn)
    for number, filters in enumerate(asked):
        if counts[number] is None:
            with suppress(OperationalError), statement_timeout(CHOICE_SECONDS):
                counts[number] = count_among(model, filters, drawn)
    choices = zip(chooser.choices, counts, strict=True)
    return replace(chooser, choices=[replace(each, count=n) for each, n in choices])


def _scores(
    model: RegisteredModel, question: Question, drawn: Sample
) -> Histogram | None:
    if not drawn.is_whole:
        filters = question.filters_without("min_score", "max_score")
        with statement_timeout(FACET_SECONDS):
            told = counting.scores_of(model, filters, SCORE_BINS)
        if told is not None:
            edges = [number / SCORE_BINS for number in range(SCORE_BINS + 1)]
            return Histogram(bins_of(edges, told), 0.0, 1.0) if any(told) else None
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


# -- one metadata key


@dataclass(frozen=True, slots=True)
class KeyFacet:
    """The values of a metadata key: ``choices`` for texts, a ``histogram`` for numbers."""

    key: str
    type: str
    choices: list[Choice] = field(default_factory=list)
    histogram: Histogram | None = None
    more: int = 0  # the number of values that are not among the choices
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
    """Return the key with what the query asks of it, without counts."""
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
    """Return the facet of one metadata key, with counts."""
    place = place_of(model, key, KINDS[type_])
    if place is None:
        return plain_key(question, key, type_)
    filters = question.filters_without(key=(key, type_))
    with statement_timeout(FACET_SECONDS):
        values, is_whole = values_at(model, filters, place)
        told = None
        if type_ in TEXTS and place.slot and not is_whole:
            told = counting.values_of(model, filters, place.slot)
    if type_ in TEXTS:
        counts = Counter(values) if told is None else told
        is_whole = is_whole or told is not None
        picked = question.picked(key, type_)
        choices = _choices(
            counts, picked, VALUES_MAX, written=lambda v: f"{key}:{type_}={v}"
        )
        more = len(counts.keys() - {choice.name for choice in choices})
        return KeyFacet(key, type_, choices, None, more, is_whole)
    low, high = question.range(key, type_)
    found = None
    if values:
        bins = VALUE_BINS
        if type_ == "int":  # one bin for each integer, if they are few
            bins = min(bins, max(int(max(values)) - int(min(values)), 1))
        least, most = float(min(values)), float(max(values))
        found = histogram(values, least, most, bins, is_whole)
    return KeyFacet(key, type_, [], found, 0, is_whole, low, high)


def preset_choices(question: Question) -> list[Choice]:
    """Return the time windows up to now, without counts."""
    return [
        Choice(title, None, is_on, value=value)
        for value, title, _, is_on in question.presets
    ]
