"""``matching`` for code that reads every match: statistics, bulk calls, exports.

Labels are tested on the arrays of the rows, which have no index, and warnings on the
payloads. So PostgreSQL would read all rows of the model. Where a label is rare, the index of
the detections (label, id) gives the few rows that may match, and only these are read. The
same holds for the index of the classes (label, score) and the partial index of rows with
warnings. Pages have access paths of their own (``planner``).
"""

from __future__ import annotations

from typing import Any, cast

from django.db import connection

from inferences.models import InferenceQuerySet, RegisteredModel
from inferences.search.access_paths import (
    CLASSES,
    DETECTIONS,
    PAYLOADS,
    TABLE,
    AccessPath,
)
from inferences.search.conditions import Conditions, conditions_of
from inferences.search.filters import Filter, matching

LEADING = {CLASSES, DETECTIONS, PAYLOADS}
RARE = 20_000  # entries; to find that there are more takes some milliseconds


def all_matching(model: RegisteredModel, filters: Filter) -> InferenceQuerySet:
    """Return the live inferences of a model that pass the filter.

    Where a label or warning is rare its ids are read now and baked into the queryset:
    evaluate it once, soon. Rows that get the label later are not in it.
    """
    found = matching(model, filters)
    asked = conditions_of(model, filters)
    if asked is None:
        return found
    leading = [
        _ids_from_indexes(asked, path) for path in asked.paths if _is_leading(path)
    ]
    ids = min((each for each in leading if each is not None), key=len, default=None)
    if ids is None:
        return found
    if not ids:
        return _only(found, "false")
    # BETWEEN lets PostgreSQL prune partitions.
    sql = f"{TABLE}.id = ANY(%s) AND {TABLE}.id BETWEEN %s AND %s"
    return _only(found, sql, ids, min(ids), max(ids))


def _only(found: InferenceQuerySet, sql: str, *values: Any) -> InferenceQuerySet:
    return cast(InferenceQuerySet, found.extra(where=[sql], params=values))


def _is_leading(path: AccessPath) -> bool:
    return all(branch.table in LEADING for branch in path.branches)


def _ids_from_indexes(asked: Conditions, path: AccessPath) -> list[int] | None:
    """Return the row ids that the path gives, or None when they are more than ``RARE``."""
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
    union = " UNION ALL ".join(parts)
    with connection.cursor() as cursor:
        cursor.execute(f"{union} LIMIT {RARE + 1}", values)
        rows = cursor.fetchall()
    return None if len(rows) > RARE else sorted({row_id for (row_id,) in rows})
