"""Parse the WHERE clause that ``matching`` built, and find the indexes that could drive it.

The ORM stays the only compiler from filters to SQL. Here its tree of conditions is read: a
condition that is recognised offers a driver, any other is only tested as part of the whole
clause. A driver is a way to enumerate, by one index, a set of rows that contains all matching
rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from django.contrib.postgres.fields.array import ArrayOverlap
from django.core.exceptions import EmptyResultSet
from django.db.models import Exists, Value
from django.db.models.expressions import Col, RawSQL
from django.db.models.fields.json import HasKey
from django.db.models.lookups import Exact, Lookup
from django.db.models.sql.where import AND, OR, WhereNode

from inferences.models import (
    SLOTS,
    ClassProbability,
    Detection,
    GroundTruth,
    Inference,
    InferencePayload,
    InferenceQuerySet,
    OverflowNumber,
    OverflowText,
    RegisteredModel,
)
from inferences.search.filters.classes import ClassTest
from inferences.search.zone_maps.pruning import Range
from inferences.store.notes import WARNINGS

TABLE = Inference._meta.db_table
DETECTIONS = Detection._meta.db_table
CLASSES = ClassProbability._meta.db_table
PAYLOADS = InferencePayload._meta.db_table
SLOT_COLUMNS = {column for columns in SLOTS.values() for column in columns}
# Their indexes end in the id, so the rows of one value come in the order of time.
IN_ORDER = {*SLOT_COLUMNS, "source_id"}
INDEXED = IN_ORDER | {"data_hash", "area_cell", "top_score"}
NUMBER_COLUMNS = {*SLOTS["integer"], *SLOTS["float"]}
SIDE_TABLES = (OverflowText, OverflowNumber, GroundTruth)
STREAMS_MOST = 20  # sorted streams that one page merges at most


@dataclass(frozen=True, slots=True)
class Sql:
    """A piece of SQL and the values of its placeholders."""

    sql: str
    values: tuple[Any, ...] = ()

    def __and__(self, other: Sql) -> Sql:
        return Sql(f"{self.sql} AND {other.sql}", self.values + other.values)


@dataclass(frozen=True, slots=True)
class IndexScan:
    """The rows of one table that satisfy one condition, read by an index.

    ``in_order`` says that the index gives them in id order.
    """

    table: str
    alias: str
    where: Sql
    in_order: bool = False
    beside: str = ""  # SQL of a VALUES list before the table, which the condition uses

    @property
    def source(self) -> str:
        """Return the SQL to put behind FROM."""
        return f"{self.beside}{self.table} AS {self.alias}"


@dataclass(frozen=True, slots=True)
class AccessPath:
    """Index scans that together contain every matching row; some rows may come twice."""

    branches: tuple[IndexScan, ...]

    @property
    def in_order(self) -> bool:
        """Return whether every branch gives ids in order, and they are few enough to be merged."""
        few = len(self.branches) <= STREAMS_MOST
        return few and all(branch.in_order for branch in self.branches)

    @property
    def of_rows(self) -> bool:
        """Return whether every branch reads the inference table itself."""
        return all(branch.table == TABLE for branch in self.branches)

    @property
    def is_one_of_rows(self) -> bool:
        """Return whether the path is a single scan of the inference table."""
        return self.of_rows and len(self.branches) == 1


@dataclass(slots=True)
class Conditions:
    """A parsed WHERE clause: the whole of it, its range of ids, and the drivers it offers."""

    model: RegisteredModel
    everything: Sql
    rest: Sql = Sql("true")  # without the tests of model, soft deletion and window
    lowest: int | None = None
    highest: int | None = None
    drivers: list[AccessPath] = field(default_factory=list)
    others: int = 0  # how many tests no index helps with
    ranges: dict[str, Range] = field(default_factory=dict)  # by number slot

    @property
    def live(self) -> Sql:
        """Return the test for the model's rows that are not soft-deleted."""
        return Sql(f"{TABLE}.model_key = %s AND NOT {TABLE}.deleted", (self.key,))

    @property
    def key(self) -> int:
        """Return the number of the model, the column ``model_key`` of its rows."""
        return self.model.pk

    @property
    def is_plain(self) -> bool:
        """Return whether nothing is asked for but a range of ids."""
        return not self.drivers and not self.others

    @property
    def has_window(self) -> bool:
        return self.lowest is not None or self.highest is not None

    def raise_lowest(self, row_id: int) -> None:
        """Narrow the window to ids from this one on."""
        self.lowest = row_id if self.lowest is None else max(self.lowest, row_id)

    def lower_highest(self, row_id: int) -> None:
        """Narrow the window to ids up to this one."""
        self.highest = row_id if self.highest is None else min(self.highest, row_id)

    def window(self, table: str = TABLE) -> Sql:
        """Return the range of ids as SQL that starts with AND, to append to another test."""
        tests, values = "", ()
        if self.lowest is not None:
            tests, values = f" AND {table}.id >= %s", (self.lowest,)
        if self.highest is not None:
            tests, values = f"{tests} AND {table}.id <= %s", (*values, self.highest)
        return Sql(tests, values)


def read(model: RegisteredModel, found: InferenceQuerySet) -> Conditions | None:
    """Return the conditions of the queryset, or None when nothing can match."""
    compiler = found.query.get_compiler(using=found.db)
    found.query.get_initial_alias()
    try:
        conditions = Conditions(model, _compile(compiler, found.query.where))
        groups: dict[str, list[Any]] = {}
        for node in map(_bare, _flat(found.query.where)):
            _sort_in(conditions, compiler, node, groups)
        drivers = [_of_column(conditions, compiler, *each) for each in groups.items()]
    except EmptyResultSet:
        return None
    conditions.drivers = [*drivers, *conditions.drivers]
    for column in groups.keys() & NUMBER_COLUMNS:
        if (numbers := _all_of(map(_range, groups[column]))) is not None:
            conditions.ranges[column] = numbers
    return conditions


def _sort_in(
    conditions: Conditions, compiler: Any, node: Any, groups: dict[str, list[Any]]
) -> None:
    """Add one condition to the window, the column groups, the drivers or the other tests."""
    column = _column(node)
    if column in ("model_key", "deleted"):
        return
    if column == "id" and _narrows(conditions, node):
        return
    conditions.rest &= _bracket(_compile(compiler, node))
    if column in INDEXED:
        groups.setdefault(column, []).append(node)
        return
    driver = _driver(conditions, compiler, node)
    if driver:
        conditions.drivers.append(driver)
    else:
        conditions.others += 1


def _compile(compiler: Any, node: Any) -> Sql:
    sql, values = compiler.compile(node)
    return Sql(sql, tuple(values))


def _flat(node: Any) -> Iterator[Any]:
    """Yield the parts of nested ANDs, one by one."""
    if isinstance(node, WhereNode) and node.connector == AND and not node.negated:
        for child in node.children:
            yield from _flat(child)
    else:
        yield node


def _bare(node: Any) -> Any:
    """Unwrap a boolean expression that Django stored as ``expression = true``."""
    is_wrapped = isinstance(node, Exact) and node.rhs is True
    return node.lhs if is_wrapped and getattr(node.lhs, "conditional", False) else node


def _column(node: Any) -> str | None:
    """Return the column of the inference table that a condition compares with plain values.

    Returns None if it compares several columns, something else, or with an expression.
    """
    if isinstance(node, WhereNode):
        if node.negated or node.connector not in (AND, OR):
            return None
        columns = {_column(_bare(child)) for child in node.children}
        return columns.pop() if len(columns) == 1 else None
    if not isinstance(node, Lookup) or not isinstance(node.lhs, Col):
        return None
    is_ours = node.lhs.alias == TABLE and not hasattr(node.rhs, "resolve_expression")
    return node.lhs.target.column if is_ours else None


def _narrows(conditions: Conditions, node: Any) -> bool:
    """Add a bound on ids to the window; return whether the condition was one."""
    if not isinstance(node, Lookup) or not isinstance(node.rhs, int):
        return False
    match node.lookup_name:
        case "gte":
            conditions.raise_lowest(node.rhs)
        case "gt":
            conditions.raise_lowest(node.rhs + 1)
        case "lte":
            conditions.lower_highest(node.rhs)
        case "lt":
            conditions.lower_highest(node.rhs - 1)
        case _:
            return False
    return True


def _of_column(
    conditions: Conditions, compiler: Any, column: str, nodes: Sequence[Any]
) -> AccessPath:
    """Return the path for the conditions on one indexed column: one or several of its ranges."""
    # Repeats the WHERE of the partial index (NOT deleted, and for most IS NOT NULL), without
    # which PostgreSQL cannot use it.
    present = Sql(f"{TABLE}.{column} IS NOT NULL")
    start = conditions.live & present if column != "source_id" else conditions.live
    if len(nodes) == 1 and column in IN_ORDER and (one := _equalities(nodes[0])):
        tests = [Sql(f"{TABLE}.{column} = %s", (value,)) for value in one]
        branches = [
            IndexScan(TABLE, TABLE, start & test, in_order=True) for test in tests
        ]
        return AccessPath(tuple(branches))
    # Only for area cells: the VALUES list below casts its bounds to bigint.
    is_area = column == "area_cell" and len(nodes) == 1
    if is_area and len(spans := _spans(nodes[0])) > 1:
        # Joining a VALUES list is planned once. For an OR of many ranges PostgreSQL would
        # try every index for each range.
        listed = ", ".join(f"({low}::bigint, {high}::bigint)" for low, high in spans)
        start &= Sql(f"{TABLE}.{column} >= spans.low AND {TABLE}.{column} < spans.high")
        beside = f"(VALUES {listed}) AS spans (low, high) CROSS JOIN "
        return AccessPath((IndexScan(TABLE, TABLE, start, beside=beside),))
    for node in nodes:
        start &= _bracket(_compile(compiler, node))
    return AccessPath((IndexScan(TABLE, TABLE, start),))


def _spans(node: Any) -> list[tuple[int, int]]:
    """Return the disjoint ranges ``[low, high)`` of whole numbers that a column must lie in.

    The list is empty if the column is compared in another way. Ranges that overlap or touch
    are joined.
    """
    if not isinstance(node, WhereNode) or node.connector != OR:
        return []
    spans: list[tuple[int, int]] = []
    for part in node.children:
        bounds = {each.lookup_name: each.rhs for each in getattr(part, "children", ())}
        if bounds.keys() != {"gte", "lt"}:
            return []
        spans.append((bounds["gte"], bounds["lt"]))
    joined: list[tuple[int, int]] = []
    for low, high in sorted(spans):
        if joined and low <= joined[-1][1]:
            low, high = joined[-1][0], max(high, joined.pop()[1])
        joined.append((low, high))
    return joined


def _bracket(fragment: Sql) -> Sql:
    return Sql(f"({fragment.sql})", fragment.values)


def _equalities(node: Any) -> list[Any]:
    """Return the values that a column may equal, or an empty list for another comparison."""
    if isinstance(node, WhereNode):
        return _equalities(node.children[0]) if len(node.children) == 1 else []
    if node.lookup_name == "exact":
        return [node.rhs]
    if node.lookup_name == "in" and len(node.rhs) <= STREAMS_MOST:
        return list(dict.fromkeys(node.rhs))
    return []


def _range(node: Any) -> Range | None:
    """Return the range that a column's value must lie in, or None when that is not known.

    A range also says that the column is not null.
    """
    if isinstance(node, WhereNode):
        parts = [_range(_bare(child)) for child in node.children]
        return _all_of(parts) if node.connector == AND else _any_of(parts)
    match node.lookup_name:
        case "exact":
            return node.rhs, node.rhs
        case "in" if node.rhs:
            return min(node.rhs), max(node.rhs)
        case "gt" | "gte":
            return node.rhs, None
        case "lt" | "lte":
            return None, node.rhs
        case "isnull" if node.rhs is False:
            return None, None
    return None


def _all_of(parts: Iterable[Range | None]) -> Range | None:
    """Return the intersection of the known ranges, or None if none is known."""
    told = [part for part in parts if part is not None]
    lows = [low for low, _ in told if low is not None]
    highs = [high for _, high in told if high is not None]
    return (max(lows, default=None), min(highs, default=None)) if told else None


def _any_of(parts: Sequence[Range | None]) -> Range | None:
    """Return the hull of the ranges, or None if one of them is not known."""
    if None in parts:
        return None
    lows, highs = [low for low, _ in parts], [high for _, high in parts]
    return (
        None if None in lows else min(lows),
        None if None in highs else max(highs),
    )


def _driver(conditions: Conditions, compiler: Any, node: Any) -> AccessPath | None:
    """Return a driver for a condition that is not on one indexed column, or None."""
    if isinstance(node, WhereNode):
        return _of_tree(conditions, compiler, node)
    if isinstance(node, Exists):
        return _of_side_rows(conditions, node)
    if isinstance(node, ClassTest):
        return _of_class(conditions, node)
    if isinstance(node, RawSQL):
        return None
    if isinstance(node, ArrayOverlap):
        return _of_labels(conditions, node)
    if (column := _column(node)) in INDEXED:
        return _of_column(conditions, compiler, column, [node])
    return None


def _of_tree(
    conditions: Conditions, compiler: Any, node: WhereNode
) -> AccessPath | None:
    """Return the driver of an AND (its best part) or of an OR (all parts together)."""
    if node.negated or node.connector not in (AND, OR):
        return None
    if (column := _column(node)) in INDEXED:
        return _of_column(conditions, compiler, column, [node])
    children = map(_bare, node.children)
    parts = [_driver(conditions, compiler, child) for child in children]
    if node.connector == AND:
        # Rows that pass an AND pass each part, so the one with the fewest scans may drive.
        known = [part for part in parts if part]
        best = min(known, key=lambda part: len(part.branches), default=None)
        return best and AccessPath(_out_of_order(best.branches))
    if None in parts:
        return None
    branches = tuple(branch for part in parts for branch in part.branches)
    return AccessPath(_out_of_order(branches))


def _out_of_order(branches: Iterable[IndexScan]) -> tuple[IndexScan, ...]:
    return tuple(replace(each, in_order=False) for each in branches)


def _of_labels(conditions: Conditions, node: ArrayOverlap) -> AccessPath | None:
    """Return the driver of ``labels__overlap``, by the index of detections."""
    labels = [
        each.value
        for each in node.get_source_expressions()[1].flatten()
        if isinstance(each, Value)
    ]
    if not labels or node.lhs.target.column != "labels":
        return None
    return access_path_of_labels(conditions, labels)


def access_path_of_labels(conditions: Conditions, labels: Sequence[int]) -> AccessPath:
    """Return the path to the rows that have a detection with one of the labels.

    The index detection_by_label (model_key, label_id, id) gives each label in id order.
    """
    ours = Sql(f"{DETECTIONS}.model_key = %s", (conditions.key,))
    tests = [Sql(f"{DETECTIONS}.label_id = %s", (label,)) for label in labels]
    return AccessPath(
        tuple(
            IndexScan(DETECTIONS, DETECTIONS, ours & test, in_order=True)
            for test in tests
        )
    )


def _of_class(conditions: Conditions, node: ClassTest) -> AccessPath:
    """Return the path to the rows whose distribution has the class within the bounds.

    The index class_by_probability has the score before the id, so it is not in id order.
    While some rows still hold a distribution as labels, the index of labels is a branch as
    well.
    """
    tables = (CLASSES, DETECTIONS) if node.also_labels else (CLASSES,)
    branches = []
    for table in tables:
        kept = Sql(
            f"{table}.model_key = %s AND {table}.label_id = %s",
            (conditions.key, node.label),
        )
        for sign, bound in node.tests:
            kept &= Sql(f"{table}.score {sign} %s", (bound,))
        branches.append(IndexScan(table, table, kept))
    return AccessPath(tuple(branches))


def _of_side_rows(conditions: Conditions, node: Exists) -> AccessPath | None:
    """Return the path of an ``Exists`` on a side table: keys without a slot, and ground truth."""
    query = node.query
    if query.model is InferencePayload:
        return _of_noted_rows(conditions, node)
    if query.model not in SIDE_TABLES:
        return None
    compiler = query.get_compiler(using="default")
    alias = query.get_initial_alias()
    kept, compared = Sql(f"{alias}.model_key = %s", (conditions.key,)), []
    for child in map(_bare, _flat(query.where)):
        compared_with = getattr(child, "lhs", child)  # a bare boolean column has no lhs
        is_plain = isinstance(compared_with, Col) and isinstance(child, Lookup | Col)
        column = compared_with.target.column if is_plain else None
        if column in ("key_id", "value", "agrees"):
            kept &= _compile(compiler, child)
            compared.append((column, getattr(child, "lookup_name", "exact")))
    # overflow_text_by_value and overflow_number_by_value end in (value, id), so one value is
    # in id order; so are ground_truth_by_verdict, for a verdict, and the primary key.
    in_order = ("value", "exact") in compared or query.model is GroundTruth
    branch = IndexScan(query.model._meta.db_table, alias, kept, in_order)
    return AccessPath((branch,))


def _of_noted_rows(conditions: Conditions, node: Exists) -> AccessPath | None:
    """Return the path to the rows with warnings, by the partial index of payloads.

    That index is in id order. Other conditions on payloads have no index, so they get None.
    """
    query = node.query
    compiler = query.get_compiler(using="default")
    alias = query.get_initial_alias()
    kept = Sql(f"{alias}.model_key = %s", (conditions.key,))
    tests = [
        child
        for child in map(_bare, _flat(query.where))
        if isinstance(child, HasKey) and child.rhs == WARNINGS
    ]
    if not tests:
        return None
    for test in tests:
        kept &= _compile(compiler, test)
    return AccessPath((IndexScan(PAYLOADS, alias, kept, in_order=True),))
