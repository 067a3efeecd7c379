"""Access paths: how an index leads to all the rows that a filter matches.

Each kind of filter builds its paths from its own values (``filters``). Here is what they are
made of, and how AND and OR combine them. A NOT has none.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from itertools import chain
from operator import or_
from typing import Any

from django.core.exceptions import EmptyResultSet, FullResultSet
from django.db import connection
from django.db.models import Field, Q, QuerySet

from inferences.models import (
    SLOTS,
    ClassProbability,
    Detection,
    Inference,
    InferencePayload,
    InferenceText,
    RegisteredModel,
)
from inferences.search.zone_maps.pruning import Range

TABLE = Inference._meta.db_table
DETECTIONS = Detection._meta.db_table
CLASSES = ClassProbability._meta.db_table
PAYLOADS = InferencePayload._meta.db_table
WORDS = InferenceText._meta.db_table
NUMBER_COLUMNS = {*SLOTS["integer"], *SLOTS["float"]}
SIGNS = {"": "=", "exact": "=", "lt": "<", "lte": "<=", "gt": ">", "gte": ">="}
KIND_OF_SLOT = {
    **dict.fromkeys(SLOTS["integer"], int),
    **dict.fromkeys(SLOTS["float"], float),
    **dict.fromkeys(SLOTS["string"], str),
}
STREAMS_MOST = 20  # sorted streams that one page merges at most


@dataclass(frozen=True, slots=True)
class Sql:
    """A piece of SQL and the values of its placeholders."""

    sql: str
    values: tuple[Any, ...] = ()

    def __and__(self, other: Sql) -> Sql:
        return Sql(f"{self.sql} AND {other.sql}", self.values + other.values)

    def __or__(self, other: Sql) -> Sql:
        return Sql(f"({self.sql} OR {other.sql})", self.values + other.values)


TRUE, FALSE = Sql("true"), Sql("false")


def where_of(rows: QuerySet[Any]) -> Sql:
    """Return the WHERE clause of a query of one table; ``FALSE`` if nothing can match."""
    query = rows.query
    try:
        sql, values = query.get_compiler(connection=connection).compile(query.where)
    except EmptyResultSet:
        return FALSE
    except FullResultSet:
        return TRUE
    return Sql(sql, tuple(values)) if sql else TRUE


def where_of_inferences(test: Q) -> Sql:
    """Return the WHERE clause of a test of inferences; ``FALSE`` if nothing can match.

    A comparison of one slot, which most filters are, is written out: compiling it takes
    Django as long as the rest of a count takes.
    """
    return _compare_slot(test) or where_of(Inference.objects.filter(test))


def _compare_slot(test: Q) -> Sql | None:
    if len(test.children) != 1 or test.negated:
        return None
    (child,) = test.children
    if isinstance(child, Q):
        return _compare_slot(child)
    if not isinstance(child, tuple):
        return None
    (name, value), kind = child, type(child[1])
    column, _, lookup = name.partition("__")
    sign = SIGNS.get(lookup)
    if sign is None or KIND_OF_SLOT.get(column) is not kind:
        return None
    if kind is int and not -(2**63) <= value < 2**63:  # Django knows without asking
        return None
    return Sql(f'"{TABLE}"."{column}" {sign} %s', (value,))


def live_rows(model: RegisteredModel) -> Sql:
    """Return the test for the model's rows that are not soft-deleted."""
    return Sql(f"{TABLE}.model_key = %s AND NOT {TABLE}.deleted", (model.pk,))


@dataclass(frozen=True, slots=True)
class IndexScan:
    """The rows of one table that satisfy one condition, read by an index.

    ``in_order`` says that the index gives them in id order. ``is_bitmap`` says that it gives
    none before it has read all entries that match, so that a limit bounds no probe of it.
    """

    table: str
    where: Sql
    in_order: bool = False
    is_bitmap: bool = False
    beside: str = ""  # SQL of a VALUES list before the table, which the condition uses

    @property
    def source(self) -> str:
        """Return the SQL to put behind FROM."""
        return f"{self.beside}{self.table}"


@dataclass(frozen=True, slots=True)
class AccessPath:
    """Index scans that together contain every matching row; some rows may come twice.

    ``is_exact`` says that the scans give no other live rows. Without a scan nothing matches.
    """

    branches: tuple[IndexScan, ...]
    is_exact: bool = False

    @property
    def in_order(self) -> bool:
        """Return whether every branch gives ids in order, and they are few enough to be merged."""
        few = len(self.branches) <= STREAMS_MOST
        return few and all(branch.in_order for branch in self.branches)

    @property
    def is_bitmap(self) -> bool:
        """Return whether a branch reads all of its entries before it gives the first."""
        return any(branch.is_bitmap for branch in self.branches)

    @property
    def of_rows(self) -> bool:
        """Return whether every branch reads the inference table itself."""
        return all(branch.table == TABLE for branch in self.branches)

    @property
    def is_one_of_rows(self) -> bool:
        """Return whether the path is a single scan of the inference table."""
        return self.of_rows and len(self.branches) == 1


NO_ROWS = AccessPath((), is_exact=True)  # of a filter that matches nothing


@dataclass(frozen=True, slots=True)
class ColumnPath(AccessPath):
    """A path by the index of one column of the inference table.

    Tests of one column are joined to one path: two bounds are one range of the index.
    ``start`` repeats the WHERE of the partial index (NOT deleted, and for most IS NOT NULL),
    without which PostgreSQL cannot use it.
    """

    column: str = ""
    start: Sql = TRUE
    test: Sql = TRUE
    numbers: Range = (None, None)  # of a number slot: what its values lie between

    def __and__(self, other: ColumnPath) -> ColumnPath:
        (low, high), (least, most) = self.numbers, other.numbers
        lows = [each for each in (low, least) if each is not None]
        highs = [each for each in (high, most) if each is not None]
        numbers = (max(lows, default=None), min(highs, default=None))
        return self._joined(other, self.test & other.test, numbers)

    def __or__(self, other: ColumnPath) -> ColumnPath:
        (low, high), (least, most) = self.numbers, other.numbers
        numbers = (
            None if low is None or least is None else min(low, least),
            None if high is None or most is None else max(high, most),
        )
        return self._joined(other, self.test | other.test, numbers)

    def _joined(self, other: ColumnPath, test: Sql, numbers: Range) -> ColumnPath:
        return replace(
            self,
            branches=(IndexScan(TABLE, self.start & test),),
            is_exact=self.is_exact and other.is_exact,
            test=test,
            numbers=numbers,
        )


def path_by_column(
    model: RegisteredModel,
    column: str,
    test: Q,
    *,
    equal_to: Sequence[Any] = (),
    numbers: Range = (None, None),
    is_exact: bool = False,
) -> ColumnPath:
    """Return the path to the rows whose indexed column passes the test.

    ``equal_to`` are the values that the test allows, for a column whose index ends in the
    id: the rows of one value come in the order of time.
    """
    start = live_rows(model)
    if column != "source_id":  # the only index that holds rows without a value as well
        start &= Sql(f"{TABLE}.{column} IS NOT NULL")
    compiled = where_of_inferences(test)
    branches = [IndexScan(TABLE, start & compiled)]
    field = Inference._meta.get_field(column)
    assert isinstance(field, Field)
    prepare = field.get_prep_value  # a whole number is a double in a slot of doubles
    if 0 < len(equal_to) <= STREAMS_MOST:
        tests = [Sql(f"{TABLE}.{column} = %s", (prepare(one),)) for one in equal_to]
        branches = [IndexScan(TABLE, start & each, in_order=True) for each in tests]
    low, high = map(prepare, numbers)
    return ColumnPath(tuple(branches), is_exact, column, start, compiled, (low, high))


def path_by_side_rows(
    rows: QuerySet[Any], *, in_order: bool = False, is_exact: bool = False
) -> AccessPath:
    """Return the path by rows of a side table, which have the ids of their inferences."""
    scan = IndexScan(rows.model._meta.db_table, where_of(rows), in_order)
    return AccessPath((scan,), is_exact)


def path_by_labels(
    model: RegisteredModel, labels: Sequence[int], *, is_exact: bool
) -> AccessPath:
    """Return the path to the rows that have a detection with one of the labels.

    The index detection_by_label (model_key, label_id, id) gives each label in id order.
    """
    ours = Sql(f"{DETECTIONS}.model_key = %s", (model.pk,))
    tests = [ours & Sql(f"{DETECTIONS}.label_id = %s", (each,)) for each in labels]
    branches = [IndexScan(DETECTIONS, test, in_order=True) for test in tests]
    return AccessPath(tuple(branches), is_exact)


def path_by_words(model: RegisteredModel, test: Sql) -> AccessPath:
    """Return the path to the rows that have a text which passes the test of its words.

    The index text_by_word is by (ARRAY[model_key], words). The model is named in this form
    alone: the primary key begins with the plain column, and would be read through instead.
    """
    ours = Sql(f"ARRAY[{WORDS}.model_key] @> ARRAY[%s::integer]", (model.pk,))
    scan = IndexScan(WORDS, ours & test, is_bitmap=True)
    return AccessPath((scan,), is_exact=True)


def merge(paths: Iterable[AccessPath]) -> list[AccessPath]:
    """Return the paths of conditions that must all hold, with one for each column."""
    columns: dict[str, ColumnPath] = {}
    others: list[AccessPath] = []
    for path in paths:
        if isinstance(path, ColumnPath):
            known = columns.get(path.column)
            columns[path.column] = known & path if known else path
        else:
            others.append(path)
    return [*columns.values(), *others]


def paths_of_all(parts: Iterable[list[AccessPath]]) -> list[AccessPath]:
    """Return the paths of an AND: each one of a part contains the rows that pass all."""
    parts = list(parts)
    paths = merge(chain.from_iterable(parts))
    if len(paths) == 1 and all(parts):
        return paths
    return [AccessPath(path.branches) for path in paths]


def paths_of_any(parts: Iterable[list[AccessPath]]) -> list[AccessPath]:
    """Return the path of an OR: the fewest scans of each part, or none if a part has none."""
    parts = [paths for paths in parts if paths != [NO_ROWS]]
    if not all(parts):
        return []
    if len(parts) == 1:
        return parts[0]
    best = [min(paths, key=lambda path: len(path.branches)) for paths in parts]
    columns = [path for path in best if isinstance(path, ColumnPath)]
    if len(columns) == len(best) and len({path.column for path in columns}) == 1:
        return [reduce(or_, columns)]
    branches = chain.from_iterable(path.branches for path in best)
    unordered = tuple(replace(each, in_order=False) for each in branches)
    return [AccessPath(unordered, all(path.is_exact for path in best))]
