"""Sort orders of a page: a rank of each row, and then its id.

Rows without a rank come last in both directions. So a page is read in two parts: the rows
with a rank, then those without.
"""

from __future__ import annotations

from dataclasses import dataclass

from inferences.models import LabelName, RegisteredModel
from inferences.real_numbers import as_real
from inferences.search.access_paths import TABLE, Sql
from inferences.search.filters import And, DetectionFilter, Filter, InferenceFilter
from inferences.store.metadata_slots import SLOT_TYPE, slot_of

LABELS_MOST = 10_000  # with more labels a page is not read label by label
NO_RANK = Sql("NULL")


@dataclass(frozen=True, slots=True)
class Order:
    """An order of rows; without a ``rank`` it is by time.

    ``rank`` is an SQL expression on a row, of the SQL type ``kind``. ``column`` is set when
    an index holds the rows in this order.
    """

    rank: Sql = NO_RANK
    kind: str = ""
    column: str = ""
    missing: Sql | None = None  # cheaper test than "rank IS NULL", if there is one
    ceiling: str = ""  # indexed column that is an upper bound of the row's rank

    @property
    def is_by_time(self) -> bool:
        return self.rank == NO_RANK


BY_TIME = Order()
SQL_TYPES = {"string": "text", "integer": "bigint", "float": "float8"}  # of slots
BY_TOP_SCORE = Order(Sql(f"{TABLE}.top_score"), "real", "top_score")


@dataclass(frozen=True, slots=True)
class KeySort:
    """A sort by the values of a metadata key."""

    key: str


def detections_of(filters: Filter) -> DetectionFilter | None:
    """Return the filter on detections whose matches a page is sorted by, or None."""
    match filters:
        case DetectionFilter():
            return filters
        case InferenceFilter():
            return filters.detections
        case And(parts):
            found = [each for part in parts if (each := detections_of(part))]
            return found[0] if found else None
    return None


def order_of(sort: str | KeySort, model: RegisteredModel, filters: Filter) -> Order:
    """Return the order of a sort by columns of the row; ``nearest`` orders by distance."""
    match sort:
        case KeySort(key):
            return by_key(model, key)
        case "score":
            return by_score(model, detections_of(filters))
        case "label":
            return by_label(model, detections_of(filters))
        case _:
            return BY_TIME


def by_key(model: RegisteredModel, key: str) -> Order:
    """Return the order by the slot of a metadata key; by time if no slot holds the key.

    The index of the slot, (model_key, slot, id), holds the rows in this order. Values of
    the key that have another type are in another slot: their rows come last.
    """
    place = slot_of(model, key)
    if place is None:
        return BY_TIME
    kind = SQL_TYPES[SLOT_TYPE[place.value_kind]]
    return Order(Sql(f"{TABLE}.{place.slot}"), kind, place.slot)


def by_score(model: RegisteredModel, detections: DetectionFilter | None) -> Order:
    """Return the order by the highest score among the detections that match the filter."""
    if detections is None:
        return BY_TOP_SCORE
    tests = _tests(model, detections)
    sql = f"(SELECT max(each.score) FROM {_detections()} WHERE {tests.sql})"
    return Order(Sql(sql, tests.values), "real", ceiling="top_score")


@dataclass(frozen=True, slots=True)
class ByLabel(Order):
    """An order by label name.

    ``label`` is the SQL of the label's number, and the rank is its name. ``names`` are the
    names that may occur, with their numbers.
    """

    label: Sql = NO_RANK
    names: tuple[tuple[str, int], ...] = ()


def by_label(model: RegisteredModel, detections: DetectionFilter | None) -> ByLabel:
    """Return the order by the label of the best matching detection; of equal scores the first."""
    tests = _tests(model, detections or DetectionFilter())
    label = (
        f"(SELECT each.label FROM {_detections()} WHERE {tests.sql} "
        "ORDER BY each.score DESC NULLS LAST, each.number LIMIT 1)"
    )
    table = LabelName._meta.db_table
    name = f'(SELECT name COLLATE "C" FROM {table} WHERE id = {label})'
    # A row that matches a filter on detections has a matching detection, so a rank.
    missing = "false" if detections else f"coalesce(cardinality({TABLE}.labels), 0) = 0"
    known = LabelName.objects.filter(registered_model=model)
    numbers = detections.label_numbers(model) if detections else None
    if numbers is not None:
        known = known.filter(id__in=numbers)
    return ByLabel(
        Sql(name, tests.values),
        "text",
        missing=Sql(missing),
        label=Sql(label, tests.values),
        # Sorted by code points, like COLLATE "C" above.
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
