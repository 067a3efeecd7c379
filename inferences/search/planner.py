"""Find the rows of one page at a bounded cost, whatever the distribution of the data.

For "the newest fifty that match" PostgreSQL's planner assumes that matches are spread evenly
over time. Where they are not (a counter that grows with time, asked for in an old range), its
plan walks the table. So this module tries one strategy after another, each with a bound:

- An index whose rows are in id order, as those of equalities and labels are, is read until
  the page is full. This needs that nothing else is asked.
- Each access path of the filter is probed, up to 5,001 entries. The one with the
  fewest is taken if it has at most 5,000: its rows are tested and sorted.
- 5,000 rows are walked in the page's order, and more of them if matches are met.
- The same two steps are tried again with 20,001 entries and 50,000 rows.

The index of words gives no entry before it has read all that match. So what is said often is met
by two walks first, and of what is left there are few entries, if matches are spread evenly.

Where the zone maps say that no row of an id range can match a range of numbers, a walk skips
that range. Such a walk is tried first, with 20,000 rows.

Otherwise there are many matches and they are far away. They are all read, through whatever
index PostgreSQL chooses, and sorted: the time grows with the number of matches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from django.db import connection

from inferences.models import RegisteredModel
from inferences.models.row_ids import LOWEST
from inferences.search import bounded_reading
from inferences.search.access_paths import (
    DETECTIONS,
    TABLE,
    TRUE,
    AccessPath,
    IndexScan,
    Sql,
    path_by_labels,
)
from inferences.search.conditions import Conditions, conditions_of
from inferences.search.cursors import PagePosition, Rank
from inferences.search.filters import Filter
from inferences.search.orders import BY_TIME, LABELS_MOST, ByLabel, Order
from inferences.search.zone_maps import pruning

SHORT_WALK = 1_000  # rows of a walk before an index is asked that is read as a whole
WALK = 5_000  # rows of the first walk in the page's order
SKIPPING_WALK = 20_000  # rows of the first walk that skips ranges by the zone maps
LONG_WALK = 50_000  # rows of the last walk before everything is read and sorted
PROMISING = 2  # a walk goes on if it found at least 1 / PROMISING of the page
VERY_FEW = 5_000  # reading so many costs no more than a walk, which may find nothing
FEW = 20_000  # rows that are tested one by one
PROBES_MOST = 8  # paths whose entries are counted, besides the time window
LABELS_ONE_BY_ONE = 60  # labels that are read one after another; the rest at once
CHUNKS = (160, 1_600, 16_000)  # entries of each stream that _refill reads, per attempt


Strategy = Callable[[Conditions, Order, "PageSlice"], list[PagePosition] | None]


@dataclass(frozen=True, slots=True)
class PageSlice:
    """A part of an order: ``limit`` rows after a position, or from an offset."""

    newest_first: bool  # descending, whatever the order is by
    limit: int
    offset: int = 0
    after: PagePosition | None = None
    may_stop: bool = False  # the caller goes on behind a ``PartOfPage``

    @property
    def needed(self) -> int:
        """Return how many matching rows must be found to fill the page."""
        return self.offset + self.limit

    @property
    def way(self) -> str:
        """Return the SQL direction of the order."""
        return "DESC" if self.newest_first else "ASC"

    @property
    def beyond(self) -> str:
        """Return the SQL comparison that later rows satisfy against the position."""
        return "<" if self.newest_first else ">"


def places(
    model: RegisteredModel, filters: Filter, order: Order, part: PageSlice
) -> list[PagePosition]:
    """Return the positions of the rows of this part, in order; rows without a rank come last."""
    asked = conditions_of(model, filters)
    if asked is None:
        return []
    if order.is_by_time:
        return _rows(_narrow(asked, part), order, part)
    in_ranks = part.after is None or part.after.rank is not None
    ranked = _rows_with_rank(asked, order, part) if in_ranks else []
    missing = part.limit - len(ranked)
    if not missing:
        return ranked
    offset = part.offset
    if in_ranks and offset and not ranked:
        offset -= _count(asked, order)
    after = PagePosition(None, part.after.row_id) if part.after else None
    rest = PageSlice(
        part.newest_first,
        missing,
        0 if ranked or not in_ranks else offset,
        None if in_ranks else after,
    )
    return ranked + unranked(asked, order, rest)


def _rows_with_rank(
    asked: Conditions, order: Order, part: PageSlice
) -> list[PagePosition]:
    """Return the rows of this part that have a rank."""
    if part.offset or not isinstance(order, ByLabel) or len(order.names) > LABELS_MOST:
        return _rows(asked, order, part)
    return _label_by_label(asked, order, part)


def _label_by_label(
    asked: Conditions, order: ByLabel, part: PageSlice
) -> list[PagePosition]:
    """Return the page by reading the rows of one label after another, each by time."""
    found: list[PagePosition] = []
    after = part.after
    names = sorted(order.names, reverse=part.newest_first)
    if after:
        names = [each for each in names if not _is_before(each[0], after.rank, part)]
    for number, (name, label) in enumerate(names):
        rest = replace(part, limit=part.limit - len(found), after=after)
        if number >= LABELS_ONE_BY_ONE:
            return found + _rows(asked, order, rest)
        following = after if after and after.rank == name else None
        # A part of one label would lose its end here.
        by_time = replace(rest, after=following, may_stop=False)
        rows = _rows(
            _narrow(_with_label(asked, order, label), by_time), BY_TIME, by_time
        )
        found += [PagePosition(name, row.row_id) for row in rows]
        if len(found) == part.limit:
            break
        if found:
            after = found[-1]
    return found


def _is_before(name: str, other: Rank, part: PageSlice) -> bool:
    """Return whether a name comes before the cursor's rank in the page's direction."""
    return name > str(other) if part.newest_first else name < str(other)


def _with_label(asked: Conditions, order: ByLabel, label: int) -> Conditions:
    """Return the conditions with one label added; the index of detections drives them."""
    test = Sql(f"{order.label.sql} = %s", (*order.label.values, label))
    # Paths by other tables, such as the filter's own by labels, give way to this one.
    paths = [path for path in asked.paths if path.of_rows]
    by_label = path_by_labels(asked.model, [label], is_exact=True)
    return replace(asked.and_test(test), paths=[*paths, by_label])


def unranked(asked: Conditions, order: Order, part: PageSlice) -> list[PagePosition]:
    """Return the rows that have no rank in this order, by time."""
    missing = order.missing  # a cheaper test, if there is one
    if missing is None:
        missing = Sql(f"({order.rank.sql}) IS NULL", order.rank.values)
    return _rows(_narrow(asked.and_test(missing), part), BY_TIME, part)


def _narrow(asked: Conditions, part: PageSlice) -> Conditions:
    """Return the conditions with the cursor and the model's first id added to the window."""
    if part.newest_first:
        return asked.within(None, part.after.row_id - 1) if part.after else asked
    if part.after:
        asked = asked.within(part.after.row_id + 1, None)
    if asked.model.first_id > LOWEST:
        # Below the low watermark there are only dead rows of removals, slow to scan.
        asked = asked.within(asked.model.first_id, None)
    return asked


def _rows(asked: Conditions, order: Order, part: PageSlice) -> list[PagePosition]:
    """Return the rows of the first strategy that does not decline, else read all matches.

    Where the caller can go on by a cursor, a search of words or side rows that takes too long
    is a ``PartOfPage``.
    """
    if not (
        part.may_stop and order.is_by_time and not part.offset and asked.may_be_far
    ):
        return _all_ways(asked, order, part)
    rows = bounded_reading.in_time(lambda: _all_ways(asked, order, part))
    if rows is None:
        rows = bounded_reading.walk(asked, part.newest_first, part.limit, _ask)
    return rows


def _all_ways(asked: Conditions, order: Order, part: PageSlice) -> list[PagePosition]:
    by_key = asked.by_key
    for way in _strategies(by_key, order, part):
        rows = way(by_key, order, part)
        if rows is not None:
            return rows
    return _read(asked, order, part, Sql(TABLE))


def _strategies(asked: Conditions, order: Order, part: PageSlice) -> Iterator[Strategy]:
    """Yield the strategies to try, cheapest bound first."""
    yield _direct
    yield _merge
    if order.is_by_time and any(path.is_bitmap for path in asked.paths):
        yield partial(_index_scan, most=SHORT_WALK)
        yield _newest_by_words
    skips = _skips(asked, part) if order.is_by_time else []
    # If only ranges of numbers are asked for, the walk past zone maps is tried first.
    if not skips or len(asked.paths) > len(asked.ranges):
        yield partial(_from_selective_index, most=VERY_FEW)
    if skips:
        yield partial(_index_scan_past_zones, skips=skips, most=SKIPPING_WALK)
        yield partial(_from_selective_index, most=FEW)
        yield partial(_index_scan_past_zones, skips=skips, most=LONG_WALK)
        return
    yield partial(_index_scan, most=WALK)
    yield partial(_under_a_ceiling, most=WALK)
    yield partial(_from_selective_index, most=FEW)
    yield partial(_index_scan, most=LONG_WALK)
    yield partial(_under_a_ceiling, most=LONG_WALK)


# -- the strategies; each returns None to decline


def _direct(
    asked: Conditions, order: Order, part: PageSlice
) -> list[PagePosition] | None:
    """Read the page from an index that has its order; declines if there are conditions."""
    if not asked.is_plain:
        return None
    if order.column and not asked.has_window:
        return _read(asked, order, part, Sql(TABLE), along_index=True)
    if order.is_by_time:
        return _read(asked, order, part, Sql(TABLE), along_index=True)
    return None


def _merge(
    asked: Conditions, order: Order, part: PageSlice
) -> list[PagePosition] | None:
    """Read the page from the one path, if its index is in id order for each value.

    Declines if other conditions would have to be tested as well.
    """
    if not order.is_by_time or len(asked.paths) != 1:
        return None
    (path,) = asked.paths
    if not (path.in_order and path.is_exact):
        return None
    if path.of_rows:
        return None if asked.others else _streamed(asked, path, part)
    # A path by detections may come with one other test, such as that of the order on the
    # labels of the row: _refill applies it to few rows.
    allowed = 1 if path.branches[0].table == DETECTIONS else 0
    if asked.others > allowed:
        return None
    return _refill(asked, path, part)


def _streamed(
    asked: Conditions, path: AccessPath, part: PageSlice
) -> list[PagePosition]:
    """Merge the first rows of each branch.

    The values of the branches exclude each other, so no row comes twice.
    """
    streams = [_stream(asked, each, part, part.needed) for each in path.branches]
    if len(streams) == 1:
        (one,) = path.branches
        ids = _ids(_stream(asked, one, part, part.limit, part.offset))
    else:
        union = _union(streams)
        ids = _ids(
            Sql(
                f"SELECT id FROM ({union.sql}) AS streams ORDER BY id {part.way} "
                f"LIMIT {part.limit} OFFSET {part.offset}",
                union.values,
            )
        )
    return [PagePosition(None, row_id) for row_id in ids]


def _refill(
    asked: Conditions, path: AccessPath, part: PageSlice
) -> list[PagePosition] | None:
    """Read the rows behind the first entries of each stream, with more entries if too few match."""
    for chunk in CHUNKS:
        # An entry may be of a soft-deleted row, and a row may have several entries.
        if part.needed > chunk // 3:
            continue
        ids, is_all = _ids_from_streams(asked, path, part, chunk)
        if is_all or len(ids) >= part.limit:
            return [PagePosition(None, row_id) for row_id in ids]
    return None


def _ids_from_streams(
    asked: Conditions, path: AccessPath, part: PageSlice, chunk: int
) -> tuple[list[int], bool]:
    """Return the ids of matching rows among the first ``chunk`` entries of each stream.

    Rows beyond the point up to which every stream was read are left out. The flag says
    whether all streams were read to their end.
    """
    streams = [
        _stream(asked, each, part, chunk, number=number)
        for number, each in enumerate(path.branches)
    ]
    union = _union(streams)
    last, edge = ("min", "max") if part.newest_first else ("max", "min")
    reached = ">=" if part.newest_first else "<="
    # ``edge``: of the streams cut off at ``chunk`` entries, the point that all have reached.
    # Beyond it a stream may have entries that were not read.
    sql = (
        f"WITH named AS MATERIALIZED ({union.sql}), "
        f"edge AS MATERIALIZED (SELECT {edge}(last) AS id FROM (SELECT {last}(id) AS last "
        f"FROM named GROUP BY number HAVING count(*) = {chunk}) AS full_ones) "
        f"SELECT ARRAY(SELECT {TABLE}.id FROM {TABLE} WHERE {asked.everything.sql} "
        f"AND {TABLE}.id = ANY(ARRAY(SELECT DISTINCT named.id FROM named)) "
        f"AND ((SELECT id FROM edge) IS NULL "
        f"OR {TABLE}.id {reached} (SELECT id FROM edge)) "
        f"ORDER BY {TABLE}.id + 0 {part.way} LIMIT {part.limit} OFFSET {part.offset}), "
        "(SELECT id FROM edge) IS NULL"
    )
    values = union.values + asked.everything.values
    # Without it, statistics that are old or missing let the planner expect few entries, read all
    # of them and sort.
    without = "enable_sort" if path.in_order else ""
    ((ids, is_all),) = _ask(Sql(sql, values), without)
    return ids, is_all


def _newest_by_words(
    asked: Conditions, order: Order, part: PageSlice
) -> list[PagePosition] | None:
    """Read the page from the one path by words; declines if anything else must be tested.

    All entries are read and the newest sorted out, but only the rows of the page are.
    """
    if len(asked.paths) != 1 or asked.others:
        return None
    (path,) = asked.paths
    if not path.is_bitmap or not path.is_exact:
        return None
    walked = _index_scan(asked, order, part, WALK)
    return _refill(asked, path, part) if walked is None else walked


def _index_scan(
    asked: Conditions, order: Order, part: PageSlice, most: int
) -> list[PagePosition] | None:
    """Walk the first ``most`` rows in the page's order; declines if they do not fill the page."""
    if part.needed > most // 5 or (not order.is_by_time and not order.column):
        return None
    # IS NOT TRUE leaves the primary key as the only index that serves this. Without statistics
    # the planner would take a partial one, read all rows of the model by it and sort them.
    start = Sql(f"{TABLE}.model_key = %s AND {TABLE}.deleted IS NOT TRUE", (asked.key,))
    along = f"{TABLE}.id {part.way}"
    if order.column:
        ranked = f"{TABLE}.{order.column}"
        start = (
            asked.live & Sql(f"{ranked} IS NOT NULL") & _beyond(order.rank, order, part)
        )
        along = f"{ranked} {part.way}, {along}"
    # In an order by rank the rows of a time window may be far away: the window is a test
    # of each row there, not the start of the walk.
    window = asked.window() if order.is_by_time else Sql("")
    first = Sql(
        f"SELECT * FROM {TABLE} WHERE {start.sql}{window.sql} ORDER BY {along} "
        f"LIMIT {most}",
        start.values + window.values,
    )
    source = Sql(f"({first.sql}) AS {TABLE}", first.values)
    fenced = order.is_by_time
    rows = _read(asked, order, part, source, fenced=fenced, along_index=True)
    if len(rows) >= part.limit:
        return rows
    # A longer walk will probably fill the page, at less cost than any other strategy.
    is_near = most < LONG_WALK and PROMISING * len(rows) >= part.limit
    return _index_scan(asked, order, part, LONG_WALK) if is_near else None


def _skips(asked: Conditions, part: PageSlice) -> list[pruning.Stretch]:
    """Return the id ranges that the zone maps let a walk skip."""
    if not asked.ranges:
        return []
    return pruning.passed_over(
        asked.key, asked.ranges, _ids_within(asked), newest_first=part.newest_first
    )


def _ids_within(asked: Conditions) -> pruning.Stretch:
    """Return the window as a pair of ids, both included."""
    lowest, highest = pruning.ALL
    return (
        lowest if asked.lowest is None else asked.lowest,
        highest if asked.highest is None else asked.highest,
    )


def _index_scan_past_zones(
    asked: Conditions,
    order: Order,
    part: PageSlice,
    skips: list[pruning.Stretch],
    most: int,
) -> list[PagePosition] | None:
    """Walk up to ``most`` rows outside the skipped ranges.

    Declines unless they fill the page or are all the rows there are.
    """
    if part.needed > most // 5:
        return None
    stretches = list(pruning.between(_ids_within(asked), skips))
    found: list[int] = []
    left = most
    for stretch in stretches[::-1] if part.newest_first else stretches:
        missing = part.needed - len(found)
        ids, walked = _walk(asked, part, stretch, missing, left)
        found += ids
        if len(ids) == missing:
            break
        left -= walked
        if left < 0:
            return None
    return [PagePosition(None, row_id) for row_id in found[part.offset :]]


def _walk(
    asked: Conditions, part: PageSlice, stretch: pruning.Stretch, limit: int, most: int
) -> tuple[list[int], int]:
    """Return the first matching ids of a stretch, and the rows walked if they are too few.

    The rows of the stretch, removed and hidden ones included, are counted up to ``most + 1``.
    Both come from one statement, because rows may be deleted between two statements.
    """
    where = asked.live & asked.rest
    rows = Sql(
        f"FROM {TABLE} WHERE {TABLE}.model_key = %s AND {TABLE}.id BETWEEN %s AND %s",
        (asked.key, *stretch),
    )
    along = f"ORDER BY {TABLE}.id {part.way}"
    sql = (
        f"SELECT ids, CASE WHEN cardinality(ids) < {limit} THEN "
        f"(SELECT count(*) FROM (SELECT {rows.sql} LIMIT {most + 1}) AS there) ELSE 0 END "
        f"FROM (SELECT ARRAY(SELECT {TABLE}.id FROM (SELECT * {rows.sql} {along} "
        f"LIMIT {most}) AS {TABLE} WHERE {where.sql} {along} LIMIT {limit}) AS ids "
        "OFFSET 0) AS walked"
    )
    ((ids, walked),) = _ask(Sql(sql, rows.values + rows.values + where.values))
    return ids, walked


def _under_a_ceiling(
    asked: Conditions, order: Order, part: PageSlice, most: int
) -> list[PagePosition] | None:
    """Return the rows of the highest rank, from the rows whose ceiling is highest.

    No row's rank is above its ceiling. So rows that were not read have no rank above the
    lowest ceiling that was read, and the page is right if its last rank is above that. Else
    it declines.
    """
    if not order.ceiling or not part.newest_first or part.needed > most // 5:
        return None
    ceiling, live = f"{TABLE}.{order.ceiling}", asked.live
    first = (
        f"FROM {TABLE} WHERE {live.sql} AND {ceiling} IS NOT NULL "
        f"ORDER BY {ceiling} DESC, {TABLE}.id DESC LIMIT {most}"
    )
    rows = _read(
        asked,
        order,
        part,
        Sql(f"(SELECT {TABLE}.* {first}) AS {TABLE}", live.values),
    )
    if len(rows) < part.limit:
        return None
    lowest = f"SELECT min(ceiling) FROM (SELECT {ceiling} AS ceiling {first}) AS walked"
    ((walked_to,),) = _ask(Sql(lowest, live.values))
    return rows if rows[-1].rank > walked_to else None


def _from_selective_index(
    asked: Conditions, order: Order, part: PageSlice, most: int
) -> list[PagePosition] | None:
    """Read the rows of the path with the fewest entries; declines if that has over ``most``."""
    paths = sorted(asked.paths, key=lambda path: not path.in_order)[:PROBES_MOST]
    if asked.lowest is not None and asked.highest is not None:
        paths.append(_window_path(asked))
    if not paths:
        return None
    if order.is_by_time and len(paths) == 1 and paths[0].is_one_of_rows:
        return _from_one_index(asked, paths[0], part, most)
    # What an index of words has is counted only if no other path has few entries.
    for some in _by_cost(paths):
        counts = _count_entries(asked, some, most)
        rows, best = min((rows, number) for number, rows in enumerate(counts))
        if rows <= most:
            source = _source(asked, some[best])
            return _read(asked, order, part, source, fenced=True, alone=True)
    return None


def _by_cost(paths: list[AccessPath]) -> list[list[AccessPath]]:
    """Return the paths whose probes a limit bounds, and then the others."""
    bounded = [path for path in paths if not path.is_bitmap]
    return [some for some in (bounded, [p for p in paths if p.is_bitmap]) if some]


def _from_one_index(
    asked: Conditions, path: AccessPath, part: PageSlice, most: int
) -> list[PagePosition] | None:
    """Probe the only path and read its rows in one statement.

    With one path there is nothing to choose, so no separate probe is needed.
    """
    (branch,) = path.branches
    window, rest = asked.window(), asked.rest
    sql = (
        f"SELECT max(entries), (array_agg({TABLE}.id ORDER BY {TABLE}.id {part.way}) "
        f"FILTER (WHERE entries <= {most} AND {rest.sql}))[{part.offset + 1}:{part.needed}] "
        f"FROM (SELECT {TABLE}.*, count(*) OVER () AS entries "
        f"FROM (SELECT {TABLE}.* FROM {branch.source} "
        f"WHERE {branch.where.sql}{window.sql} LIMIT {most + 1}) AS {TABLE}) AS {TABLE}"
    )
    values = rest.values + branch.where.values + window.values
    ((entries, ids),) = _ask(Sql(sql, values))
    return (
        None
        if entries and entries > most
        else [PagePosition(None, each) for each in ids or ()]
    )


def _window_path(asked: Conditions) -> AccessPath:
    """Return the time window as a path: a range of the primary key."""
    ours = Sql(f"{TABLE}.model_key = %s", (asked.key,))
    return AccessPath((IndexScan(TABLE, ours),))


def _count_entries(asked: Conditions, paths: list[AccessPath], most: int) -> list[int]:
    """Return how many entries each path has, counted to at most ``most + 1``."""
    probes = []
    for path in paths:
        entries = _union([_entries(asked, each) for each in path.branches])
        probes.append(
            Sql(
                f"(SELECT count(*) FROM ({entries.sql} LIMIT {most + 1}) AS entries)",
                entries.values,
            )
        )
    sql = "SELECT " + ", ".join(probe.sql for probe in probes)
    (counts,) = _ask(Sql(sql, tuple(v for probe in probes for v in probe.values)))
    return list(counts)


def _entries(asked: Conditions, branch: IndexScan) -> Sql:
    """Return the SQL that selects a branch's entries within the window."""
    window = asked.window(branch.table)
    sql = f"SELECT 1 FROM {branch.source} WHERE {branch.where.sql}"
    return Sql(sql + window.sql, branch.where.values + window.values)


def _source(asked: Conditions, path: AccessPath) -> Sql:
    """Return the path's live rows as a subquery.

    ``OFFSET 0`` is an optimisation fence: PostgreSQL cannot choose another index instead.
    """
    if path.is_one_of_rows:
        (branch,) = path.branches
        test, window = branch.where & asked.live, asked.window()
        return Sql(
            f"(SELECT {TABLE}.* FROM {branch.source} "
            f"WHERE {test.sql}{window.sql} OFFSET 0) AS {TABLE}",
            test.values + window.values,
        )
    named = _union([_named_by(asked, each) for each in path.branches])
    live = asked.live
    return Sql(
        f"(SELECT * FROM {TABLE} WHERE {live.sql} "
        f"AND {TABLE}.id = ANY(ARRAY({named.sql})) OFFSET 0) AS {TABLE}",
        live.values + named.values,
    )


def _named_by(asked: Conditions, branch: IndexScan) -> Sql:
    """Return the SQL that selects the row ids of a branch's entries."""
    entries = _entries(asked, branch)
    sql = entries.sql.replace("SELECT 1", f"SELECT {branch.table}.id", 1)
    return Sql(sql, entries.values)


# -- pieces of SQL


def _stream(
    asked: Conditions,
    branch: IndexScan,
    part: PageSlice,
    limit: int,
    offset: int = 0,
    number: int | None = None,
) -> Sql:
    """Return the SQL of a branch's first entries in id order."""
    table, window = branch.table, asked.window(branch.table)
    numbered = "" if number is None else f"{number} AS number, "
    sql = (
        f"SELECT {numbered}{table}.id FROM {branch.source} "
        f"WHERE {branch.where.sql}{window.sql} "
        f"ORDER BY {table}.id {part.way} LIMIT {limit} OFFSET {offset}"
    )
    return Sql(sql, branch.where.values + window.values)


def _union(parts: list[Sql]) -> Sql:
    """Join queries by UNION ALL."""
    if len(parts) == 1:
        return parts[0]
    sql = " UNION ALL ".join(f"({part.sql})" for part in parts)
    return Sql(sql, tuple(value for part in parts for value in part.values))


def _beyond(rank: Sql, order: Order, part: PageSlice, table: str = f"{TABLE}.") -> Sql:
    """Return the test that a row comes after the position where the last page ended."""
    if part.after is None or part.after.rank is None:
        return TRUE
    return Sql(
        f"({rank.sql}, {table}id) {part.beyond} (%s::{order.kind}, %s)",
        (*rank.values, part.after.rank, part.after.row_id),
    )


def _read(
    asked: Conditions,
    order: Order,
    part: PageSlice,
    source: Sql,
    *,
    along_index: bool = False,
    fenced: bool = False,
    alone: bool = False,
) -> list[PagePosition]:
    """Return the rows of a source that pass the whole filter, in the page's order.

    A ``fenced`` source holds live rows of the model and window; only the rest is tested.

    ``along_index`` lets PostgreSQL read an index in the page's order until the page is
    full. Otherwise ``ORDER BY id + 0`` stops the planner from walking the id index, which
    is slow when few rows match. ``alone`` runs with ``enable_seqscan = off``.
    """
    where = asked.rest if fenced else asked.everything
    if order.is_by_time:
        row_id = f"{TABLE}.id" if along_index else f"{TABLE}.id + 0"
        sql = (
            f"SELECT {TABLE}.id, NULL FROM {source.sql} WHERE {where.sql} "
            f"ORDER BY {row_id} {part.way}"
        )
        values = source.values + where.values
    elif along_index:
        ranked = f"{TABLE}.{order.column}"
        where = where & Sql(f"{ranked} IS NOT NULL") & _beyond(order.rank, order, part)
        sql = (
            f"SELECT {TABLE}.id, {ranked} FROM {source.sql} WHERE {where.sql} "
            f"ORDER BY {ranked} {part.way}, {TABLE}.id {part.way}"
        )
        values = source.values + where.values
    else:
        # OFFSET 0 is a fence: the rank is computed once a row, not again in WHERE.
        beyond = _beyond(Sql("rank"), order, part, "")
        sql = (
            f"SELECT id, rank FROM (SELECT {TABLE}.id, {order.rank.sql} AS rank "
            f"FROM {source.sql} WHERE {where.sql} OFFSET 0) AS ranked "
            f"WHERE rank IS NOT NULL AND {beyond.sql} "
            f"ORDER BY rank {part.way}, id {part.way}"
        )
        values = order.rank.values + source.values + where.values + beyond.values
    sql = f"{sql} LIMIT {part.limit} OFFSET {part.offset}"
    return [
        PagePosition(rank, row_id)
        for row_id, rank in _ask(Sql(sql, values), "enable_seqscan" if alone else "")
    ]


def _count(asked: Conditions, order: Order) -> int:
    """Return how many matching rows have a rank."""
    rank = order.rank
    where = asked.everything & Sql(f"({rank.sql}) IS NOT NULL", rank.values)
    sql = f"SELECT count(*) FROM {TABLE} WHERE {where.sql}"
    ((count,),) = _ask(Sql(sql, where.values))
    return int(count)


def _ids(fragment: Sql) -> list[int]:
    return [row_id for (row_id,) in _ask(fragment)]


def _ask(fragment: Sql, without: str = "") -> list[Any]:
    """Run a query; ``without`` is a way of the planner to avoid in this statement only."""
    sql, limit = fragment.sql, bounded_reading.limit_of_statement()
    if without:  # in one message, which is one transaction where there is no other
        sql = f"SET LOCAL {without} = off; {sql}; SET LOCAL {without} = on"
    with connection.cursor() as cursor:
        cursor.execute(limit + sql, list(fragment.values))
        if limit:
            cursor.nextset()
        if without:
            cursor.nextset()  # past the result of SET
        rows: list[Any] = cursor.fetchall()
    return rows
