"""A table of groups: the matches by a label, a source, an action or the values of a key.

Counts are of all matches where the summaries of segments tell them, or where one aggregate of all
is done in time; else of the newest ``SAMPLE``. The figures beside a count (agreement with the
ground truth, mean score) are of all matches or of the newest, too. The page says which.
Each group opens exactly the inferences that it counts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from django.core.exceptions import EmptyResultSet
from django.db import OperationalError, connection

from inferences.models import (
    Inference,
    InferenceAction,
    LabelName,
    MetadataKind,
    RegisteredModel,
    SourceName,
)
from inferences.models.ground_truth import GroundTruth
from inferences.models.metadata_values import SLOT_BEGINNING
from inferences.models.row_ids import moment_of
from inferences.predictions.model_types import type_of
from inferences.search import counting, planner
from inferences.search.filters import (
    DetectionFilter,
    Filter,
    HasKey,
    InferenceFilter,
    MetadataFilter,
    Not,
    TimeWindow,
)
from inferences.search.filters.words import number
from inferences.search.orders import BY_TIME
from inferences.search.planner import PageSlice
from inferences.search.rare_label_scan import all_matching
from inferences.store.metadata_slots import SIDE_ROWS, SlotRef, usual_place
from inferences.web.view_models.browsing import FORM_TYPES, Offer
from inferences.web.view_models.charts import (
    WHOLE_TYPES,
    intersect,
    list_address,
    of_label,
    of_value,
)
from inferences.web.view_models.columns import META
from inferences.web.view_models.questions import TEXTS, Question
from inferences.web.view_models.sampling import SAMPLE
from istore.db.statement_timeout import statement_timeout
from istore.web.plots.ticks import round_numbers

GROUPS_SHOWN = 100
RANGES_FROM = 25  # different numbers, from which on ranges of them are the groups
RANGES = 10
EACH_SECONDS = 2.0
COUNT_SECONDS = 1.0
FIXED = {
    "label": "Label",
    "source": "Data source",
    "action": "Action",
    f"{META}.model_version": "Version",
}


@dataclass(frozen=True, slots=True)
class Group:
    """One group. The shares are from 0 to 1; None where no row of the group tells them."""

    name: str
    address: str
    count: int
    share: float
    judged: int = 0  # with a ground truth that can be compared with the answer
    agreeing: int = 0
    score: float | None = None
    is_rest: bool = False  # of the inferences without a value

    @property
    def width(self) -> float:
        """The share as the length of a bar in percent."""
        return round(100 * self.share, 1)

    @property
    def agreement(self) -> float | None:
        return 100 * self.agreeing / self.judged if self.judged else None

    @property
    def errors(self) -> float | None:
        """The share of answers that differ from their ground truth, in percent."""
        return 100 - self.agreement if self.agreement is not None else None


@dataclass(frozen=True, slots=True)
class Groups:
    """The groups, the largest first.

    ``counted`` and ``figured`` are the number of newest matches that counts and figures are
    of; None means all.
    """

    title: str
    groups: list[Group]
    total: int
    left_out: int = 0  # groups beyond ``GROUPS_SHOWN``
    counted: int | None = None
    figured: int | None = None
    is_multiple: bool = False  # an inference may be in several groups

    @property
    def has_truth(self) -> bool:
        return any(each.judged for each in self.groups)

    @property
    def has_scores(self) -> bool:
        return any(each.score is not None for each in self.groups)


@dataclass(frozen=True, slots=True)
class _Grouping:
    """What is grouped by: SQL of a row's value, how it is named, and the filter of one."""

    title: str
    value: str  # SQL over ``found``
    columns: tuple[str, ...]
    beside: str = ""  # SQL behind the table, which the value may use
    counted_by: str = ""  # the column whose values summaries of segments count
    key: str = ""  # of metadata
    type: str = ""
    name_of: Callable[[Any], str] = str
    filter_of: Callable[[Any], Filter] | None = None
    without: Filter | None = None  # the filter of the rows without a value
    edges: Sequence[float] = ()
    is_multiple: bool = False

    @property
    def is_of_numbers(self) -> bool:
        return bool(self.type) and self.type not in TEXTS


def group_choices(
    question: Question, offered: Offer
) -> list[tuple[str, str, str, bool]]:
    """Return what a table can be grouped by: title, note, query string, whether it is."""
    keys = {f"{META}.{each.key}": each.key for each in offered.keys}
    named = {n: t for n, t in FIXED.items() if n in keys or not n.startswith(META)}
    return [
        (
            title,
            "" if name in FIXED else "key",
            link(question, name),
            name == question.group,
        )
        for name, title in (
            named | {n: t for n, t in keys.items() if n not in named}
        ).items()
    ]


def link(question: Question, name: str) -> str:
    """Return the query string of the table grouped by this, or of the one of inferences."""
    return question.link(group=name or None, view="table")


def count_groups(model: RegisteredModel, filters: Filter, by: str) -> Groups | None:
    """Return the groups of the matches; None if the model has nothing of that name.

    Raises ``OperationalError`` if even the newest matches are not found in time.
    """
    grouping = _grouping(model, by)
    if grouping is None:
        return None
    if grouping.is_of_numbers:
        grouping = _in_ranges(model, filters, grouping)
    counts = _counts_of_all(model, filters, grouping)
    rows = None if counts is not None else _aggregate(model, filters, grouping)
    if rows is not None:
        total = _count(model, filters) if grouping.is_multiple else None
        return _groups(model, filters, grouping, rows, total)
    ids, is_whole = _newest(model, filters)
    rows = _aggregate_ids(model, grouping, ids)
    figured = None if is_whole else len(ids)
    if counts is not None:
        with statement_timeout(COUNT_SECONDS):
            total = counting.count_by_segments(model, filters)
        rows = _recount(rows, counts, total)
        return _groups(model, filters, grouping, rows, total, figured=figured)
    if not is_whole and ids:
        # What is counted is what is opened: the newest matches, and no others.
        window = TimeWindow(moment_of(ids[-1]), moment_of(ids[0]))
        filters = intersect(filters, InferenceFilter(time_window=window))
    return _groups(
        model, filters, grouping, rows, len(ids), counted=figured, figured=figured
    )


def _grouping(model: RegisteredModel, by: str) -> _Grouping | None:
    if by == "label":
        return _Grouping(
            "Label",
            "each.label",
            ("labels",),
            " LEFT JOIN LATERAL (SELECT DISTINCT label FROM unnest(found.labels) "
            "AS label) AS each ON true",
            "labels",
            filter_of=of_label,
            without=Not(DetectionFilter()),
            is_multiple=not type_of(model.task_type).is_one_class,
        )
    if by == "source":
        return _Grouping(
            "Data source",
            "found.source_id",
            ("source_id",),
            counted_by="source_id",
            filter_of=lambda name: InferenceFilter(data_source=name),
        )
    if by == "action":
        return _Grouping(
            "Action",
            "found.inference_action",
            ("inference_action",),
            counted_by="inference_action",
            name_of=lambda value: str(InferenceAction(int(value)).label),
            filter_of=lambda name: InferenceFilter(
                inference_action=InferenceAction[name.upper()]
            ),
        )
    part, _, key = by.partition(".")
    place = usual_place(model, key) if part == META and key else None
    return _of_key(model, key, place) if place else None


def _of_key(model: RegisteredModel, key: str, place: SlotRef) -> _Grouping:
    type_ = FORM_TYPES[MetadataKind(place.kind)]
    value, beside = f"found.{place.slot}", ""
    if not place.slot:
        table = SIDE_ROWS[place.side]._meta.db_table
        value = "side.value"
        beside = (
            f" LEFT JOIN {table} AS side ON side.model_key = {model.pk:d} "
            f"AND side.id = found.id AND side.key_id = {place.key_id:d}"
        )
    return _Grouping(
        FIXED.get(f"{META}.{key}", key),
        value,
        (place.slot,) if place.slot else (),
        beside,
        place.slot,
        key,
        type_,
        _text,
        filter_of=lambda name: of_value(key, type_, name),
        without=Not(HasKey(key, type_)),
    )


def _text(value: Any) -> str:
    return number(value) if isinstance(value, float) else str(value)


def _in_ranges(
    model: RegisteredModel, filters: Filter, grouping: _Grouping
) -> _Grouping:
    """Return the grouping by ranges of numbers, if the newest matches have many of them."""
    ids, _ = _newest(model, filters)
    rows = _run(f"SELECT DISTINCT {grouping.value} FROM {{rows}}", grouping, model, ids)
    values = [float(value) for (value,) in rows if value is not None]
    if len(values) < RANGES_FROM:
        return grouping
    low, high = min(values), max(values)
    is_whole = grouping.type in WHOLE_TYPES
    steps = round_numbers(low, high, RANGES, whole=is_whole)
    edges = [each for each in steps if low < each <= high]
    if not edges:
        return grouping
    written = ", ".join(map(repr, edges))
    names = _range_names(edges)
    ranges = dict(zip(names, _ranges(edges, grouping), strict=True))
    return replace(
        grouping,
        value=f"width_bucket({grouping.value}::float8, ARRAY[{written}]::float8[])",
        counted_by="",
        name_of=lambda value: names[int(value)],
        filter_of=ranges.__getitem__,
        edges=edges,
    )


def _range_names(edges: Sequence[float]) -> list[str]:
    written = [number(each) for each in edges]
    between = [f"{low} to {high}" for low, high in pairwise(written)]
    return [f"below {written[0]}", *between, f"from {written[-1]}"]


def _ranges(edges: Sequence[float], grouping: _Grouping) -> list[Filter]:
    """Return the filter of each range: below the first edge, between two, from the last."""

    def between(low: float | None, high: float | None) -> Filter:
        bounds = ((">=", low), ("<", high))
        return InferenceFilter(
            metadata=tuple(
                MetadataFilter(grouping.key, grouping.type, sign, number(bound))
                for sign, bound in bounds
                if bound is not None
            )
        )

    return [between(low, high) for low, high in pairwise((None, *edges, None))]


def _counts_of_all(
    model: RegisteredModel, filters: Filter, grouping: _Grouping
) -> Counter[str] | None:
    """Return the counts of all matches by value, if the summaries of segments tell them."""
    if not grouping.counted_by:
        return None
    try:
        with statement_timeout(COUNT_SECONDS):
            return counting.values_of(model, filters, grouping.counted_by)
    except OperationalError:
        return None


def _count(model: RegisteredModel, filters: Filter) -> int | None:
    try:
        with statement_timeout(COUNT_SECONDS):
            return counting.count_matching(model, filters).number
    except OperationalError:
        return None


def _newest(model: RegisteredModel, filters: Filter) -> tuple[list[int], bool]:
    with statement_timeout(EACH_SECONDS):
        part = PageSlice(newest_first=True, limit=SAMPLE + 1)
        places = planner.places(model, filters, BY_TIME, part)
    return [each.row_id for each in places[:SAMPLE]], len(places) <= SAMPLE


# (value, count, judged, agreeing, mean score)
_Row = tuple[Any, int, int, int, float | None]
FIGURES = (
    "count(*), count(truth.agrees), count(*) FILTER (WHERE truth.agrees), "
    "avg(found.top_score)"
)


def _statement(model: RegisteredModel, grouping: _Grouping) -> str:
    truths = GroundTruth._meta.db_table
    return (
        f"SELECT {grouping.value}, {FIGURES} FROM {{rows}} "
        f"LEFT JOIN {truths} AS truth ON truth.model_key = {model.pk:d} "
        "AND truth.id = found.id GROUP BY 1"
    )


def _aggregate(
    model: RegisteredModel, filters: Filter, grouping: _Grouping
) -> list[_Row] | None:
    """Return the rows of all matches; None if that is not done in time."""
    if model.awaits_classes:
        return None
    columns = ("id", "top_score", *grouping.columns)
    try:
        found = all_matching(model, filters).order_by().values(*columns)
        rows, values = found.query.sql_with_params()
    except EmptyResultSet:
        return []
    sql = _statement(model, grouping).replace(
        "{rows}", f"({rows}) AS found{grouping.beside}"
    )
    try:
        with statement_timeout(EACH_SECONDS), connection.cursor() as cursor:
            cursor.execute(sql, values)
            counted: list[_Row] = cursor.fetchall()
    except OperationalError:
        return None
    return counted


def _aggregate_ids(
    model: RegisteredModel, grouping: _Grouping, ids: Sequence[int]
) -> list[_Row]:
    return _run(_statement(model, grouping), grouping, model, ids)


def _run(
    statement: str, grouping: _Grouping, model: RegisteredModel, ids: Sequence[int]
) -> list[Any]:
    """Return the rows of a statement over the inferences with these ids."""
    if not ids:
        return []
    rows = (
        f"(SELECT * FROM {Inference._meta.db_table} WHERE model_key = %s "
        f"AND id = ANY(%s::bigint[]) AND NOT deleted) AS found{grouping.beside}"
    )
    with statement_timeout(EACH_SECONDS), connection.cursor() as cursor:
        cursor.execute(statement.replace("{rows}", rows), [model.pk, list(ids)])
        found: list[Any] = cursor.fetchall()
    return found


def _recount(
    rows: Sequence[_Row], counts: Counter[str], total: int | None
) -> list[_Row]:
    """Return the rows with the counts of all matches in place of those of a sample."""
    figures = {_text(value): rest for value, _, *rest in rows}
    found: list[Any] = []
    for text, count in counts.items():
        judged, agreeing, score = figures.get(text, (0, 0, None))
        found.append((text, count, judged, agreeing, score))
    without = [row for row in rows if row[0] is None]
    if without and total is not None and total > counts.total():
        _, _, *rest = without[0]
        found.append((None, total - counts.total(), *rest))
    return found


def _groups(
    model: RegisteredModel,
    filters: Filter,
    grouping: _Grouping,
    rows: Sequence[_Row],
    total: int | None = None,
    *,
    counted: int | None = None,
    figured: int | None = None,
) -> Groups:
    named = _names(grouping, [row[0] for row in rows])
    sized = sorted(rows, key=lambda row: (row[0] is None, -row[1]))
    kept = [row for row in sized if row[0] is None or row[0] in named]
    if grouping.edges:
        kept.sort(key=lambda row: (row[0] is None, row[0] or 0))
    of = total or sum(row[1] for row in kept) or 1
    groups = []
    for value, count, judged, agreeing, score in kept[:GROUPS_SHOWN]:
        narrower = grouping.without
        if value is not None and grouping.filter_of:
            narrower = grouping.filter_of(named[value])
        name = "none" if value is None else named[value]
        # A slot may hold the beginning of a longer text, which no filter asks for.
        if len(name.encode()) > SLOT_BEGINNING:
            narrower = None
        address = list_address(model, intersect(filters, narrower)) if narrower else ""
        groups.append(
            Group(
                name,
                address,
                count,
                min(count / of, 1.0),
                judged,
                agreeing,
                None if score is None else float(score),
                value is None,
            )
        )
    return Groups(
        grouping.title,
        groups,
        of,
        max(len(kept) - GROUPS_SHOWN, 0),
        counted,
        figured,
        grouping.is_multiple,
    )


def _names(grouping: _Grouping, values: Sequence[Any]) -> dict[Any, str]:
    """Return the name of each value; words whose name was removed meanwhile are left out."""
    known = [value for value in values if value is not None]
    tables: dict[str, type[LabelName] | type[SourceName]] = {
        "labels": LabelName,
        "source_id": SourceName,
    }
    table = tables.get(grouping.counted_by)
    if table is None:
        return {value: grouping.name_of(value) for value in known}
    words = table.objects.in_bulk([int(value) for value in known])
    return {value: words[int(value)].name for value in known if int(value) in words}
