"""A filter on one model, ready for the planner: its tests as SQL, its window, its paths."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from inferences.models import RegisteredModel
from inferences.models.side_rows import BY_KEY, JOINABLE
from inferences.search.access_paths import (
    FALSE,
    NO_ROWS,
    NUMBER_COLUMNS,
    TABLE,
    TRUE,
    WORDS,
    AccessPath,
    ColumnPath,
    Sql,
    live_rows,
    merge,
    where_of_inferences,
)
from inferences.search.filters import Filter, TimeWindow
from inferences.search.filters.tree import conjuncts
from inferences.search.zone_maps.counts import SegmentSum
from inferences.search.zone_maps.pruning import Range
from inferences.search.zone_maps.tallies import Tally


@dataclass(frozen=True, slots=True)
class Conditions:
    """What the rows of one model must satisfy, and the access paths that lead to them."""

    model: RegisteredModel
    rest: Sql = TRUE  # without the tests of model, soft deletion and window
    lowest: int | None = None
    highest: int | None = None
    paths: Sequence[AccessPath] = ()
    tallies: Sequence[Tally | None] = ()  # of each test (``zone_maps.tallies``)
    others: int = 0  # how many tests no index decides alone

    @property
    def live(self) -> Sql:
        """Return the test for the model's rows that are not soft-deleted."""
        return live_rows(self.model)

    @property
    def everything(self) -> Sql:
        """Return all tests of a row."""
        window = self.window()
        live = Sql(self.live.sql + window.sql, self.live.values + window.values)
        return live & self.rest

    @property
    def key(self) -> int:
        """Return the number of the model, the column ``model_key`` of its rows."""
        return self.model.pk

    @property
    def ranges(self) -> dict[str, Range]:
        """Return what the values of each number slot lie between; they are not null."""
        return {
            path.column: path.numbers
            for path in self.paths
            if isinstance(path, ColumnPath) and path.column in NUMBER_COLUMNS
        }

    @property
    def by_key(self) -> Conditions:
        """Return the same conditions, with side rows looked up for each row that is tested."""
        rest = Sql(self.rest.sql.replace(JOINABLE, BY_KEY), self.rest.values)
        return replace(self, rest=rest)

    @property
    def has_words(self) -> bool:
        """Return whether words of texts are tested, wanted ones or those that must not be there."""
        return WORDS in self.rest.sql

    @property
    def may_be_far(self) -> bool:
        """Return whether matches may be far from each other, and tests cost more than the row.

        That is so of words and of side rows: no index may lead to them, as to inputs that are gone.
        """
        return self.has_words or JOINABLE in self.rest.sql

    @property
    def is_plain(self) -> bool:
        """Return whether nothing is asked for but a range of ids."""
        return not self.paths and not self.others

    @property
    def has_window(self) -> bool:
        return self.lowest is not None or self.highest is not None

    @property
    def segment_sum(self) -> SegmentSum:
        """Return what the summaries of segments are to count."""
        return SegmentSum(self.model, self.tallies, self.lowest, self.highest)

    def rows(self, window: Sql, part: Sql | None = None, beside: str = "") -> Sql:
        """Return the count of the matching rows in a window, or the counts by a part of them.

        ``beside`` is SQL behind the table, which the part may name.
        """
        where = self.live & self.rest
        tests = f"FROM {TABLE}{beside} WHERE {where.sql}{window.sql}"
        values = where.values + window.values
        if part is None:
            return Sql(f"SELECT count(*) {tests}", values)
        sql = (
            f"SELECT {part.sql}, count(*) {tests} AND {part.sql} IS NOT NULL GROUP BY 1"
        )
        return Sql(sql, part.values + values + part.values)

    def within(self, lowest: int | None, highest: int | None) -> Conditions:
        """Return the same conditions with the window narrowed to these ids, both included."""
        lows = [each for each in (self.lowest, lowest) if each is not None]
        highs = [each for each in (self.highest, highest) if each is not None]
        return replace(
            self, lowest=max(lows, default=None), highest=min(highs, default=None)
        )

    def and_test(self, test: Sql) -> Conditions:
        """Return the same conditions with one more, which no index decides."""
        tallies = (*self.tallies, None)
        return replace(
            self, rest=self.rest & test, others=self.others + 1, tallies=tallies
        )

    def window(self, table: str = TABLE) -> Sql:
        """Return the range of ids as SQL that starts with AND, to append to another test."""
        tests = ""
        values: tuple[int, ...] = ()
        if self.lowest is not None:
            tests, values = f" AND {table}.id >= %s", (self.lowest,)
        if self.highest is not None:
            tests, values = f"{tests} AND {table}.id <= %s", (*values, self.highest)
        return Sql(tests, values)


def conditions_of(model: RegisteredModel, filters: Filter) -> Conditions | None:
    """Return the conditions of a filter on a model, or None when nothing can match."""
    conditions, paths = Conditions(model), list[AccessPath]()
    for part in conjuncts(filters):
        if isinstance(part, TimeWindow):
            ids = part.row_ids()
            if ids is None:
                return None
            conditions = conditions.within(*ids)
            continue
        test = where_of_inferences(part.condition(model))
        if test == TRUE:
            continue
        found = [] if test == FALSE else part.access_paths(model)
        if test == FALSE or NO_ROWS in found:
            return None
        paths += found
        conditions = replace(
            conditions,
            rest=conditions.rest & test,
            tallies=(*conditions.tallies, part.tally(model)),
            others=conditions.others + (not any(path.is_exact for path in found)),
        )
    return replace(conditions, paths=merge(paths))
