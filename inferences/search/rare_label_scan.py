"""``matching`` for code that reads every match: statistics, bulk calls, exports.

Labels are tested on the arrays of the rows, which have no index, and warnings on the
payloads. So PostgreSQL would read all rows of the model. Where a label is rare, the index of
the detections (label, id) gives the few rows that may match, and only these are read. The
same holds for the index of the classes (label, score), the partial index of rows with
warnings, and the index of words. Pages have access paths of their own (``planner``).
"""

from __future__ import annotations

from typing import cast

from django.db import connection

from inferences.models import InferenceQuerySet, RegisteredModel
from inferences.search.access_paths import (
    CLASSES,
    DETECTIONS,
    FALSE,
    PAYLOADS,
    TABLE,
    WORDS,
    AccessPath,
    Sql,
)
from inferences.search.conditions import Conditions, conditions_of
from inferences.search.filters import Filter, matching

LEADING = {CLASSES, DETECTIONS, PAYLOADS, WORDS}
ENTRIES_A_ROW = 4  # that are read for each row of a count with a limit
RARE = 20_000  # entries; to find that there are more takes some milliseconds


def all_matching(model: RegisteredModel, filters: Filter) -> InferenceQuerySet:
    """Return the live inferences of a model that pass the filter.

    Where a label or warning is rare its ids are read now and baked into the queryset:
    evaluate it once, soon. Rows that get the label later are not in it.
    """
    found = matching(model, filters)
    asked = conditions_of(model, filters)
    ids = _leading_ids(asked) if asked else None
    if ids is None:
        return found
    only = _only(ids)
    return cast(
        InferenceQuerySet, found.extra(where=[only.sql], params=list(only.values))
    )


def count_rows(asked: Conditions, most: int | None = None) -> int:
    """Return how many live inferences pass the conditions, counted no further than ``most``."""
    where, ids = asked.everything, _leading_ids(asked)
    if ids is not None:
        where &= _only(ids)
    elif by_words := _path_by_words(asked):
        return _count_by_words(asked, by_words, most)
    rows = f"FROM {TABLE} WHERE {where.sql}"
    if most is not None:
        rows = f"FROM (SELECT 1 {rows} LIMIT {most}) AS first"
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT count(*) {rows}", where.values)
        ((number,),) = cursor.fetchall()
    return int(number)


def _path_by_words(asked: Conditions) -> AccessPath | None:
    """Return the path by an index of words that gives nothing but matches of its condition."""
    exact = (path for path in asked.paths if path.is_bitmap and path.is_exact)
    return next(exact, None)


def _count_by_words(asked: Conditions, path: AccessPath, most: int | None) -> int:
    """Return the count of many rows that a path by words leads to.

    Testing the texts of each row takes ten times as long as reading the entries, so they are
    not tested again if that path is all that is asked. A count with a limit reads as many
    entries as have that many rows most often, and all if those do not suffice.
    """
    alone = len(asked.paths) == 1 and not asked.others
    window = asked.window()
    live = Sql(asked.live.sql + window.sql, asked.live.values + window.values)
    where = live if alone else asked.everything
    limits = [None] if most is None else [ENTRIES_A_ROW * most, None]
    for entries in limits:
        named = _entries_of(asked, path)
        limit = "" if entries is None else f" LIMIT {entries}"
        rows = (
            f"SELECT 1 FROM {TABLE} WHERE {where.sql} AND {TABLE}.id IN "
            f"(SELECT id FROM (SELECT id FROM ({named.sql}) AS named{limit}) AS first)"
        )
        if most is not None:
            rows += f" LIMIT {most}"
        with connection.cursor() as cursor:
            values = where.values + named.values
            cursor.execute(f"SELECT count(*) FROM ({rows}) AS matching", values)
            ((number,),) = cursor.fetchall()
        if number == most:
            break
    return int(number)


def _leading_ids(asked: Conditions) -> list[int] | None:
    """Return the ids of the fewest rows that one path leads to, if it leads to few."""
    leading = [
        _ids_from_indexes(asked, path) for path in asked.paths if _is_leading(path)
    ]
    return min((each for each in leading if each is not None), key=len, default=None)


def _only(ids: list[int]) -> Sql:
    if not ids:
        return FALSE
    # BETWEEN lets PostgreSQL prune partitions.
    sql = f"{TABLE}.id = ANY(%s) AND {TABLE}.id BETWEEN %s AND %s"
    return Sql(sql, (ids, min(ids), max(ids)))


def _is_leading(path: AccessPath) -> bool:
    return all(branch.table in LEADING for branch in path.branches)


def _ids_from_indexes(asked: Conditions, path: AccessPath) -> list[int] | None:
    """Return the row ids that the path gives, or None when they are more than ``RARE``."""
    entries = _entries_of(asked, path)
    with connection.cursor() as cursor:
        cursor.execute(f"{entries.sql} LIMIT {RARE + 1}", entries.values)
        rows = cursor.fetchall()
    return None if len(rows) > RARE else sorted({row_id for (row_id,) in rows})


def _entries_of(asked: Conditions, path: AccessPath) -> Sql:
    """Return the query of the row ids that the path gives within the window."""
    parts = [
        f"SELECT {branch.table}.id FROM {branch.source} "
        f"WHERE {branch.where.sql}{asked.window(branch.table).sql}"
        for branch in path.branches
    ]
    values = [
        value
        for branch in path.branches
        for value in (*branch.where.values, *asked.window(branch.table).values)
    ]
    return Sql(" UNION ALL ".join(parts), tuple(values))
