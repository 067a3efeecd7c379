"""The rows of a page, by ways whose cost is bounded whatever the data.

"The newest fifty that match" makes a planner bet that matches are spread evenly over
time. Where they are not, a counter that grows with time asked in an old range, the bet
costs a walk of the table. So one way after the other is tried, each with a bound:

- an index that holds its rows in the order of ids, as those of equalities and labels do,
  is read until the page is full, when nothing else is asked;
- each index that could drive is probed, to 5,001 entries; has one fewer, it drives: its
  rows are tested and sorted;
- 5,000 rows are walked in the order of the page, and further if matches are met;
- the same to 20,001 entries, and to 50,000 rows.

Where segments say that ranges of numbers find nothing in some part, a walk passes over
it; that is tried first, with 20,000 rows.

What is left has matches that are many and far away. They are all read, through whatever
index the planner likes, and sorted: it takes as long as there are matches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from django.db import connection

from inferences.models import InferenceQuerySet, RegisteredModel
from inferences.models.row_ids import LOWEST
from inferences.search import access_paths as reading
from inferences.search.access_paths import (
    DETECTIONS,
    TABLE,
    AccessPath,
    Conditions,
    IndexScan,
    Sql,
)
from inferences.search.cursors import PagePosition, Rank
from inferences.search.orders import BY_TIME, LABELS_MOST, ByLabel, Order
from inferences.search.zone_maps import pruning

WALK = 5_000
SKIPPING_WALK = 20_000
LONG_WALK = 50_000
PROMISING = 2  # times the rows that a walk found are a page: it is worth going on
VERY_FEW = 5_000  # no dearer than a walk, which may find nothing
FEW = 20_000  # rows that are looked at one by one
PROBES_MOST = 8
LABELS_ONE_BY_ONE = 60
CHUNKS = (160, 1_600, 16_000)


Strategy = Callable[[Conditions, Order, "PageSlice"], list[PagePosition] | None]


@dataclass(frozen=True, slots=True)
class PageSlice:
    """Which part of an order: after a place, or from an offset."""

    newest_first: bool  # for "descending", whatever the order
    limit: int
    offset: int = 0
    after: PagePosition | None = None

    @property
    def needed(self) -> int:
        return self.offset + self.limit

    @property
    def way(self) -> str:
        return "DESC" if self.newest_first else "ASC"

    @property
    def beyond(self) -> str:
        return "<" if self.newest_first else ">"


def places(
    model: RegisteredModel, found: InferenceQuerySet, order: Order, part: PageSlice
) -> list[PagePosition]:
    """The rows of this part in their order; those without a rank come last."""
    asked = reading.read(model, found)
    if asked is None:
        return []
    if order.rank is None:
        return _rows(_narrow(asked, part), order, part)
    in_ranks = part.after is None or part.after.rank is not None
    ranked = _rank(asked, order, part) if in_ranks else []
    missing = part.limit - len(ranked)
    if not missing:
        return ranked
    offset = part.offset
    if in_ranks and offset and not ranked:
        offset -= _count(asked, order)
    rest = PageSlice(
        part.newest_first,
        missing,
        0 if ranked or not in_ranks else offset,
        None if in_ranks else PagePosition(None, part.after.row_id),
    )
    return ranked + unranked(asked, order, rest)


def _rank(asked: Conditions, order: Order, part: PageSlice) -> list[PagePosition]:
    few = isinstance(order, ByLabel) and len(order.names) <= LABELS_MOST
    if few and not part.offset:
        return _label_by_label(asked, order, part)
    return _rows(asked, order, part)


def _label_by_label(
    asked: Conditions, order: ByLabel, part: PageSlice
) -> list[PagePosition]:
    """For one label after the other, its rows by time, until the page is full."""
    found: list[PagePosition] = []
    after = part.after
    names = sorted(order.names, reverse=part.newest_first)
    if after:
        names = [each for each in names if not _is_before(each[0], after.rank, part)]
    for number, (name, label) in enumerate(names):
        rest = replace(part, limit=part.limit - len(found), after=after)
        if number >= LABELS_ONE_BY_ONE:
            return found + _rows(asked, order, rest)
        by_time = replace(rest, after=after if after and after.rank == name else None)
        rows = _rows(_narrow(_label(asked, order, label), by_time), BY_TIME, by_time)
        found += [PagePosition(name, row.row_id) for row in rows]
        if len(found) == part.limit:
            break
        if found:
            after = found[-1]
    return found


def _is_before(name: str, other: Rank, part: PageSlice) -> bool:
    return name > other if part.newest_first else name < other


def _label(asked: Conditions, order: ByLabel, label: int) -> Conditions:
    """With the label whose rows are looked for; the index of detections leads to them."""
    test = Sql(f"{order.label.sql} = %s", (*order.label.values, label))
    # Whoever asks for labels is led there by this one alone.
    drivers = [each for each in asked.drivers if each.of_rows]
    return replace(
        asked,
        everything=asked.everything & test,
        rest=asked.rest & test,
        drivers=[*drivers, reading.access_path_of_labels(asked, [label])],
        others=asked.others + 1,
    )


def unranked(asked: Conditions, order: Order, part: PageSlice) -> list[PagePosition]:
    """The rows that the order has no rank for, by time."""
    return _rows(_narrow(_without_rank(asked, order), part), BY_TIME, part)


def _narrow(asked: Conditions, part: PageSlice) -> Conditions:
    """With the cursor, and where the model's first row is, as part of the window."""
    asked = replace(asked, drivers=list(asked.drivers))
    if part.after:
        if part.newest_first:
            asked.lower_highest(part.after.row_id - 1)
        else:
            asked.raise_lowest(part.after.row_id + 1)
    if not part.newest_first and asked.model.first_id > LOWEST:
        asked.raise_lowest(asked.model.first_id)  # removed rows pile up below
    window = asked.window()
    whole = asked.everything
    asked.everything = Sql(whole.sql + window.sql, whole.values + window.values)
    return asked


def _without_rank(asked: Conditions, order: Order) -> Conditions:
    test = order.missing
    if test is None:
        test = Sql(f"({order.rank.sql}) IS NULL", order.rank.values)
    return replace(
        asked,
        everything=asked.everything & test,
        rest=asked.rest & test,
        others=asked.others + 1,
    )


def _rows(asked: Conditions, order: Order, part: PageSlice) -> list[PagePosition]:
    for way in _strategies(asked, order, part):
        rows = way(asked, order, part)
        if rows is not None:
            return rows
    return _read(asked, order, part, Sql(TABLE))


def _strategies(asked: Conditions, order: Order, part: PageSlice) -> Iterator[Strategy]:
    yield _direct
    yield _merge
    skips = _skips(asked, part) if order.rank is None else []
    # Where numbers alone are asked for, what segments leave is looked at first.
    if not skips or len(asked.drivers) > len(asked.ranges):
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


# -- the ways, each of which may decline


def _direct(
    asked: Conditions, order: Order, part: PageSlice
) -> list[PagePosition] | None:
    """Nothing is asked but a place in the order of an index."""
    if not asked.is_plain:
        return None
    if order.column and not asked.has_window:
        return _read(asked, order, part, Sql(TABLE), along_index=True)
    if order.rank is None:
        return _read(asked, order, part, Sql(TABLE), along_index=True)
    return None


def _merge(
    asked: Conditions, order: Order, part: PageSlice
) -> list[PagePosition] | None:
    """One condition, by an index that is in the order of ids for each of its values."""
    if order.rank is not None or len(asked.drivers) != 1:
        return None
    driver = asked.drivers[0]
    if not driver.in_order:
        return None
    if driver.of_rows:
        return None if asked.others else _streamed(asked, driver, part)
    # Of detections, the condition beside them is that of the labels themselves.
    allowed = 1 if driver.branches[0].table == DETECTIONS else 0
    if asked.others > allowed:
        return None
    return _refill(asked, driver, part)


def _streamed(
    asked: Conditions, driver: AccessPath, part: PageSlice
) -> list[PagePosition]:
    """Values exclude each other, so each gives its first rows, and the first of all win."""
    streams = [_stream(asked, each, part, part.needed) for each in driver.branches]
    if len(streams) == 1:
        (one,) = driver.branches
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
    asked: Conditions, driver: AccessPath, part: PageSlice
) -> list[PagePosition] | None:
    """Rows that the first entries of each stream name, more entries if they are short."""
    for chunk in CHUNKS:
        if part.needed > chunk // 3:
            continue
        ids, is_all = _named(asked, driver, part, chunk)
        if is_all or len(ids) >= part.limit:
            return [PagePosition(None, row_id) for row_id in ids]
    return None


def _named(
    asked: Conditions, driver: AccessPath, part: PageSlice, chunk: int
) -> tuple[list[int], bool]:
    """The matching rows among the first entries, up to where every stream was read."""
    streams = [
        _stream(asked, each, part, chunk, number=number)
        for number, each in enumerate(driver.branches)
    ]
    union = _union(streams)
    last, edge = ("min", "max") if part.newest_first else ("max", "min")
    reached = ">=" if part.newest_first else "<="
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
    ((ids, is_all),) = _ask(Sql(sql, union.values + asked.everything.values))
    return ids, is_all


def _index_scan(
    asked: Conditions, order: Order, part: PageSlice, most: int
) -> list[PagePosition] | None:
    """The page, if it lies among the first rows of the order."""
    if part.needed > most // 5 or (order.rank is not None and not order.column):
        return None
    start, along = asked.live, f"{TABLE}.id {part.way}"
    if order.column:
        ranked = f"{TABLE}.{order.column}"
        start &= Sql(f"{ranked} IS NOT NULL") & _beyond(order.rank, order, part)
        along = f"{ranked} {part.way}, {along}"
    # In an order of its own a window may be far away: it is tested, not walked to.
    window = asked.window() if order.rank is None else Sql("")
    first = Sql(
        f"SELECT * FROM {TABLE} WHERE {start.sql}{window.sql} ORDER BY {along} "
        f"LIMIT {most}",
        start.values + window.values,
    )
    source = Sql(f"({first.sql}) AS {TABLE}", first.values)
    fenced = order.rank is None
    rows = _read(asked, order, part, source, fenced=fenced, along_index=True)
    if len(rows) >= part.limit:
        return rows
    # Some way on it would be full: that is nearer than any other way.
    is_near = most < LONG_WALK and PROMISING * len(rows) >= part.limit
    return _index_scan(asked, order, part, LONG_WALK) if is_near else None


def _skips(asked: Conditions, part: PageSlice) -> list[pruning.Stretch]:
    if not asked.ranges:
        return []
    return pruning.passed_over(
        asked.key, asked.ranges, _ids_within(asked), newest_first=part.newest_first
    )


def _ids_within(asked: Conditions) -> pruning.Stretch:
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
    """The page, if so many rows beside what is passed over hold it, or all that match."""
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
    """The first matching rows of a stretch, and how many it has if those are too few.

    The rows are counted to one more than are walked, removed and hidden ones included;
    in one statement, as some may go meanwhile.
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
    """The highest ranks, if they lie among the rows whose ceiling is highest.

    What was not walked has no rank above the lowest ceiling that was.
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
    """From the condition that the fewest rows satisfy, if they are few."""
    drivers = sorted(asked.drivers, key=lambda each: not each.in_order)[:PROBES_MOST]
    if asked.lowest is not None and asked.highest is not None:
        drivers.append(_window_driver(asked))
    if not drivers:
        return None
    if order.rank is None and len(drivers) == 1 and drivers[0].is_one_of_rows:
        return _from_one_index(asked, drivers[0], part, most)
    rows, best = min(
        (rows, number) for number, rows in enumerate(_probe(asked, drivers, most))
    )
    if rows > most:
        return None
    return _read(
        asked, order, part, _source(asked, drivers[best]), fenced=True, alone=True
    )


def _from_one_index(
    asked: Conditions, driver: AccessPath, part: PageSlice, most: int
) -> list[PagePosition] | None:
    """Probed and read in one statement, as there is no choice."""
    (branch,) = driver.branches
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


def _window_driver(asked: Conditions) -> AccessPath:
    ours = Sql(f"{TABLE}.model_key = %s", (asked.key,))
    return AccessPath((IndexScan(TABLE, TABLE, ours),))


def _probe(asked: Conditions, drivers: list[AccessPath], most: int) -> list[int]:
    """How many entries each driver has, counted to one more than ``most``."""
    probes = []
    for driver in drivers:
        entries = _union([_entries(asked, each) for each in driver.branches])
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
    window = asked.window(branch.alias)
    sql = f"SELECT 1 FROM {branch.source} WHERE {branch.where.sql}"
    return Sql(sql + window.sql, branch.where.values + window.values)


def _source(asked: Conditions, driver: AccessPath) -> Sql:
    """The driver's rows, behind a fence: the planner cannot take another way in."""
    if driver.is_one_of_rows:
        (branch,) = driver.branches
        test, window = branch.where & asked.live, asked.window()
        return Sql(
            f"(SELECT {TABLE}.* FROM {branch.source} "
            f"WHERE {test.sql}{window.sql} OFFSET 0) AS {TABLE}",
            test.values + window.values,
        )
    named = _union([_named_by(asked, each) for each in driver.branches])
    live = asked.live
    return Sql(
        f"(SELECT * FROM {TABLE} WHERE {live.sql} "
        f"AND {TABLE}.id = ANY(ARRAY({named.sql})) OFFSET 0) AS {TABLE}",
        live.values + named.values,
    )


def _named_by(asked: Conditions, branch: IndexScan) -> Sql:
    entries = _entries(asked, branch)
    sql = entries.sql.replace("SELECT 1", f"SELECT {branch.alias}.id", 1)
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
    """The first entries of a branch in the order of ids."""
    alias, window = branch.alias, asked.window(branch.alias)
    numbered = "" if number is None else f"{number} AS number, "
    sql = (
        f"SELECT {numbered}{alias}.id FROM {branch.source} "
        f"WHERE {branch.where.sql}{window.sql} "
        f"ORDER BY {alias}.id {part.way} LIMIT {limit} OFFSET {offset}"
    )
    return Sql(sql, branch.where.values + window.values)


def _union(parts: list[Sql]) -> Sql:
    if len(parts) == 1:
        return parts[0]
    sql = " UNION ALL ".join(f"({part.sql})" for part in parts)
    return Sql(sql, tuple(value for part in parts for value in part.values))


def _beyond(rank: Sql, order: Order, part: PageSlice, table: str = f"{TABLE}.") -> Sql:
    """That a row comes after the place where the last page ended."""
    if part.after is None or part.after.rank is None:
        return Sql("true")
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
    if order.rank is None:
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
        # Behind the fence a rank is worked out once a row, and no index offers it.
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
        PagePosition(rank, row_id) for row_id, rank in _ask(Sql(sql, values), alone)
    ]


def _count(asked: Conditions, order: Order) -> int:
    """How many rows have a rank."""
    rank = order.rank
    where = asked.everything & Sql(f"({rank.sql}) IS NOT NULL", rank.values)
    sql = f"SELECT count(*) FROM {TABLE} WHERE {where.sql}"
    ((count,),) = _ask(Sql(sql, where.values))
    return count


def _ids(fragment: Sql) -> list[int]:
    return [row_id for (row_id,) in _ask(fragment)]


def _ask(fragment: Sql, alone: bool = False) -> list[Any]:
    with connection.cursor() as cursor:
        if alone:
            cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute(fragment.sql, list(fragment.values))
        rows = cursor.fetchall()
        if alone:
            cursor.execute("SET LOCAL enable_seqscan = on")
    return rows
