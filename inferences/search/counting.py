"""Count the inferences that match, exactly or up to a limit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from django.db import connection

from inferences.models import RegisteredModel
from inferences.models.zone_maps import SCORE_PARTS
from inferences.real_numbers import as_real
from inferences.search.access_paths import DETECTIONS, TABLE, Sql
from inferences.search.conditions import Conditions, conditions_of
from inferences.search.filters import DetectionFilter, Filter, InferenceFilter
from inferences.search.orders import detections_of
from inferences.search.query import InferenceQuery
from inferences.search.rare_label_scan import count_rows
from inferences.search.zone_maps.counts import GAP, value_of


@dataclass(frozen=True, slots=True)
class Count:
    """A number of inferences; ``is_exact`` is False when there are more than the limit."""

    number: int
    is_exact: bool = True


@dataclass(frozen=True, slots=True)
class CountQuery(InferenceQuery):
    """A count that takes the body of a page query; only the filter matters."""

    limit: int | None = None


def count_matching(
    model: RegisteredModel, filters: Filter, most: int | None = None
) -> Count:
    """Return how many inferences pass the filter, counted no further than ``most``."""
    asked = conditions_of(model, filters)
    if asked is None:
        return Count(0)
    wanted = _labels_alone(model, filters)
    number = _add_up_segments(asked, wanted)
    if number is None and (wanted is None or most is not None):
        number = count_rows(asked, None if most is None else most + 1)
    if number is None:
        assert wanted is not None
        window, deleted = asked.window(DETECTIONS), asked.window()
        number = _number_of(_by_detections(asked, wanted, window, deleted))
    most = number if most is None else most
    return Count(min(number, most), number <= most)


def count_by_segments(model: RegisteredModel, filters: Filter) -> int | None:
    """Return the exact count if the summaries of segments tell it, in milliseconds.

    None for models without segments, and where rows have to be read.
    """
    asked = conditions_of(model, filters)
    return _add_up_segments(asked, _labels_alone(model, filters)) if asked else 0


def _add_up_segments(asked: Conditions, wanted: DetectionFilter | None) -> int | None:
    total = asked.segment_sum
    if total.tells_by_buckets():
        return total.count_in_buckets(asked.rows(GAP))
    if not total.tells():
        return None
    rows = _by_detections(asked, wanted, GAP, GAP) if wanted else asked.rows(GAP)
    return total.count(rows)


def _number_of(counted: Sql) -> int:
    with connection.cursor() as cursor:
        cursor.execute(counted.sql, counted.values)
        ((number,),) = cursor.fetchall()
    return int(number)


def volume(
    model: RegisteredModel, filters: Filter, limits: Sequence[int]
) -> list[int] | None:
    """Return the number of matches from each row id to before the next one.

    None if segments do not tell it. Matches outside of the limits are left out.
    """
    asked = conditions_of(model, filters)
    if asked is None:
        return [0] * (len(limits) - 1)
    asked = asked.within(limits[0], limits[-1] - 1)
    if not asked.segment_sum.tells():
        return None
    edges = Sql("%s::bigint[]", (list(limits),))
    part = Sql(f"width_bucket({TABLE}.id, {edges.sql})", edges.values)
    return asked.segment_sum.over_time(limits, asked.rows(GAP, part))


def values_of(
    model: RegisteredModel, filters: Filter, column: str
) -> Counter[str] | None:
    """Return how many matches have each value of a column of ``COUNTED``, as text.

    Labels are numbers, scores those of their parts (``zone_maps.tallies.SCORES``). None if
    segments do not tell it, as for scores beside a condition that only some rows pass.
    """
    asked = conditions_of(model, filters)
    if asked is None:
        return Counter()
    if model.awaits_classes or not asked.segment_sum.tells_of(column):
        return None
    value, beside = value_of(column)
    part = Sql(f"{value}::text")
    return asked.segment_sum.by_value(column, asked.rows(GAP, part, beside))


def scores_of(model: RegisteredModel, filters: Filter, bins: int) -> list[int] | None:
    """Return how many scores lie in equal bins from 0 to 1, both included.

    None if segments do not tell it, or a score lies outside. The number of bins divides
    ``SCORE_PARTS``.
    """
    found = values_of(model, filters, "scores")
    if found is None or found["0"] or found[str(SCORE_PARTS + 2)]:
        return None
    counts, parts = [0] * bins, SCORE_PARTS // bins
    for part, number in found.items():
        counts[min((int(part) - 1) // parts, bins - 1)] += number
    return counts


def _labels_alone(model: RegisteredModel, filters: Filter) -> DetectionFilter | None:
    """Return the filter on labels, if a time window is all that is asked besides it."""
    # While rows still hold distributions as labels, the label index counts too many.
    if model.awaits_classes:
        return None
    wanted = detections_of(filters)
    if isinstance(filters, InferenceFilter):
        rest = replace(filters, detections=None, time_window=None)
        alone = rest == InferenceFilter()
    else:
        alone = filters == wanted
    return wanted if alone and wanted and wanted.labels else None


def _by_detections(
    asked: Conditions, wanted: DetectionFilter, window: Sql, deleted_window: Sql
) -> Sql:
    """Return a count of the label index, minus soft-deleted inferences that are not yet gone.

    This is twenty times faster than testing the labels of each row.
    """
    numbers = wanted.label_numbers(asked.model)
    tests = Sql("model_key = %s AND label_id = ANY(%s)", (asked.key, numbers))
    for _, sign, bound in wanted.bounds():
        tests &= Sql(f"score {sign} %s", (as_real(bound),))
    # The index inference_deleted serves this.
    deleted = Sql(f"{TABLE}.model_key = %s AND {TABLE}.deleted", (asked.key,))
    deleted &= asked.rest
    return Sql(
        f"SELECT (SELECT count(DISTINCT id) FROM {DETECTIONS} "
        f"WHERE {tests.sql}{window.sql}) - "
        f"(SELECT count(*) FROM {TABLE} WHERE {deleted.sql}{deleted_window.sql})",
        tests.values + window.values + deleted.values + deleted_window.values,
    )
