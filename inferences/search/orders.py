"""By what a page is sorted: a rank of each row, and then its id.

Rows without a rank come last in both directions, so a page is read in two parts, those
with one and those without.
"""

from __future__ import annotations

from dataclasses import dataclass

from inferences.models import LabelName, RegisteredModel
from inferences.real_numbers import as_real
from inferences.search.access_paths import TABLE, Sql
from inferences.search.filters import And, DetectionFilter, Filter, InferenceFilter

LABELS_MOST = 10_000
NOTHING_TOLD = Sql("NULL")


@dataclass(frozen=True, slots=True)
class Order:
    """``rank`` is an expression on a row, of type ``kind``; without one, it is by time.

    ``column`` is there when an index holds the rows in this order.
    """

    rank: Sql | None = None
    kind: str = ""
    column: str = ""
    missing: Sql | None = None  # when a row has none, if there is a shorter way
    ceiling: str = ""  # a column with an index that no rank of a row is above


BY_TIME = Order()
BY_TOP_SCORE = Order(Sql(f"{TABLE}.top_score"), "real", "top_score")


def detections_of(filters: Filter) -> DetectionFilter | None:
    """Which detections a filter speaks of, so that these are sorted by."""
    match filters:
        case DetectionFilter():
            return filters
        case InferenceFilter():
            return filters.detections
        case And(parts):
            found = [each for part in parts if (each := detections_of(part))]
            return found[0] if found else None
    return None


def order_of(sort: str, model: RegisteredModel, filters: Filter) -> Order:
    """The order of a sort by what rows hold; an embedding's is ``nearest``'s to say."""
    match sort:
        case "score":
            return by_score(model, detections_of(filters))
        case "label":
            return by_label(model, detections_of(filters))
        case _:
            return BY_TIME


def by_score(model: RegisteredModel, detections: DetectionFilter | None) -> Order:
    """By the highest score among the detections that match the filter."""
    if detections is None:
        return BY_TOP_SCORE
    tests = _tests(model, detections)
    sql = f"(SELECT max(each.score) FROM {_detections()} WHERE {tests.sql})"
    return Order(Sql(sql, tests.values), "real", ceiling="top_score")


@dataclass(frozen=True, slots=True)
class ByLabel(Order):
    """``label`` is the number whose name is the rank; ``names`` those that may be."""

    label: Sql = NOTHING_TOLD
    names: tuple[tuple[str, int], ...] = ()


def by_label(model: RegisteredModel, detections: DetectionFilter | None) -> ByLabel:
    """By the label of that detection; of several with this score, the first's."""
    tests = _tests(model, detections or DetectionFilter())
    label = (
        f"(SELECT each.label FROM {_detections()} WHERE {tests.sql} "
        "ORDER BY each.score DESC NULLS LAST, each.number LIMIT 1)"
    )
    table = LabelName._meta.db_table
    name = f'(SELECT name COLLATE "C" FROM {table} WHERE id = {label})'
    # What matches a filter on detections has one that does.
    missing = "false" if detections else f"coalesce(cardinality({TABLE}.labels), 0) = 0"
    known = LabelName.objects.filter(registered_model=model)
    if detections and detections.labels is not None:
        known = known.filter(id__in=detections.label_numbers(model))
    return ByLabel(
        Sql(name, tests.values),
        "text",
        missing=Sql(missing),
        label=Sql(label, tests.values),
        # As code points, which is how Python compares.
        names=tuple(sorted(known.values_list("name", "id")[: LABELS_MOST + 1])),
    )


def _detections() -> str:
    arrays = f"unnest({TABLE}.labels, {TABLE}.scores)"
    return f"{arrays} WITH ORDINALITY AS each (label, score, number)"


def _tests(model: RegisteredModel, detections: DetectionFilter) -> Sql:
    tests = Sql("true")
    numbers = detections.label_numbers(model)
    if numbers is not None:
        tests &= Sql("each.label = ANY(%s::integer[])", (numbers,))
    for _, sign, bound in detections.bounds():
        tests &= Sql(f"each.score {sign} %s", (as_real(bound),))
    return tests
