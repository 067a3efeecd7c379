"""How many inferences match: exactly, or exactly up to a limit."""

from __future__ import annotations

from dataclasses import dataclass, replace

from django.db import connection

from inferences.models import RegisteredModel
from inferences.real_numbers import as_real
from inferences.search import access_paths
from inferences.search.access_paths import DETECTIONS, TABLE, Conditions, Sql
from inferences.search.filters import DetectionFilter, Filter, InferenceFilter, matching
from inferences.search.orders import detections_of
from inferences.search.query import InferenceQuery
from inferences.search.rare_label_scan import all_matching


@dataclass(frozen=True, slots=True)
class Count:
    """``is_exact`` is False when there are more than the limit that was asked for."""

    number: int
    is_exact: bool = True


@dataclass(frozen=True, slots=True)
class CountQuery(InferenceQuery):
    """A count may be asked as a page is: of that, the filter alone matters."""

    limit: int | None = None


def count_matching(
    model: RegisteredModel, filters: Filter, most: int | None = None
) -> Count:
    """How many inferences pass the filter; with ``most``, counted no further."""
    if most is not None:
        number = all_matching(model, filters).order_by()[: most + 1].count()
        return Count(min(number, most), number <= most)
    wanted = _detections_alone(filters)
    # While distributions stand among the labels, the index of labels counts too many.
    if wanted is None or model.awaits_classes:
        return Count(all_matching(model, filters).count())
    asked = access_paths.read(model, matching(model, filters))
    return Count(_by_detections(asked, wanted) if asked else 0)


def _detections_alone(filters: Filter) -> DetectionFilter | None:
    """The detections with labels, when nothing else is asked for but a time window."""
    wanted = detections_of(filters)
    if isinstance(filters, InferenceFilter):
        rest = replace(filters, detections=None, time_window=None)
        alone = rest == InferenceFilter()
    else:
        alone = filters == wanted
    return wanted if alone and wanted and wanted.labels else None


def _by_detections(asked: Conditions, wanted: DetectionFilter) -> int:
    """Entries of the label index, less the inferences that are deleted and not yet gone.

    Twenty times faster than to look at the labels of each row.
    """
    numbers = wanted.label_numbers(asked.model)
    tests = Sql("model_key = %s AND label_id = ANY(%s)", (asked.key, numbers))
    for _, sign, bound in wanted.bounds():
        tests &= Sql(f"score {sign} %s", (as_real(bound),))
    window = asked.window(DETECTIONS)
    deleted = _delete(asked)
    sql = (
        f"SELECT (SELECT count(DISTINCT id) FROM {DETECTIONS} "
        f"WHERE {tests.sql}{window.sql}) - "
        f"(SELECT count(*) FROM {TABLE} WHERE {deleted.sql})"
    )
    with connection.cursor() as cursor:
        cursor.execute(sql, [*tests.values, *window.values, *deleted.values])
        return cursor.fetchone()[0]


def _delete(asked: Conditions) -> Sql:
    """The same question to deleted rows; served by inference_deleted."""
    live = f'NOT "{TABLE}"."deleted"'
    whole = asked.everything
    if live not in whole.sql:
        raise RuntimeError("The where clause no longer says that rows are live.")
    turned = whole.sql.replace(live, f'"{TABLE}"."deleted"', 1)
    return Sql(turned, whole.values)
