"""The volume of inferences over time, counted or estimated.

Where the summaries of segments tell how many match, they are added up. Where they do not, up to
``COUNTED`` matches are counted exactly. Of more, the time is divided into parts, and
``LOOKED_AT`` matches are read from both ends of each part. Their distances give the density; if
both ends meet, the part is counted exactly. So the number of index entries read is bounded,
however many match.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from django.db import OperationalError, connection

from inferences.models import RegisteredModel
from inferences.models.row_ids import first_id_at, moment_of
from inferences.search import counting
from inferences.search.filters import Filter, matching
from inferences.web.view_models.histograms import Histogram, bins_of
from inferences.web.view_models.questions import Question
from inferences.web.view_models.sampling import Sample
from istore.db.statement_timeout import statement_timeout

Window = tuple[datetime, datetime]
VOLUME_SECONDS = 1.0
BUCKETS = 72
COUNTED = 50_000
PARTS, LOOKED_AT = 4, 50  # parts of a bucket, and matches read from each end of a part


def window_of(
    model: RegisteredModel, question: Question, drawn: Sample | None = None
) -> Window:
    """Return the time window of the query, or else that of the data.

    ``drawn`` are the newest matches. Without a window in the query it ends with the first of
    them. It begins with the last if they are all matches, else with the model's oldest.
    Raises ``OperationalError`` if finding the oldest exceeds the timeout.
    """
    given = question.values
    now = datetime.now(UTC)
    since, until = given["since"], given["until"]
    if since is None and until is None and drawn and drawn.ids:
        until = moment_of(drawn.ids[0])
        if drawn.is_whole:
            since = moment_of(drawn.ids[-1])
    if since is None:
        # first_id is the low watermark: without it the scan would read all removed rows.
        live = model.inferences.live().filter(id__gte=model.first_id)
        with statement_timeout(VOLUME_SECONDS):
            oldest = live.oldest_first().values_list("id", flat=True).first()
        since = moment_of(oldest) if oldest else now - timedelta(days=1)
    until = until or now
    return since, max(since, until)


def widen(window: Window) -> Window:
    """Return the window, or a minute where all lies in one moment."""
    since, until = window
    return (since, until) if until > since else (since, since + timedelta(minutes=1))


def common_windows(windows: Sequence[Window]) -> list[Window]:
    """Return the windows to draw: the same for all where they overlap."""
    first, last = max(low for low, _ in windows), min(high for _, high in windows)
    if first > last:
        return list(windows)
    whole = min(low for low, _ in windows), max(high for _, high in windows)
    return [whole] * len(windows)


def volume(
    model: RegisteredModel,
    question: Question,
    drawn: Sample,
    window: Window | None = None,
) -> Histogram | None:
    """Return the volume of all matches over time, counted or estimated.

    It covers only the sample if both exceed the timeout. None if nothing matches. Without a
    window it is that of ``window_of``.
    """
    if not drawn.ids:
        return None
    since, until = widen(window or window_of(model, question, drawn))
    step = (until - since) / BUCKETS
    edges = [since + n * step for n in range(BUCKETS)] + [until]
    limits = [first_id_at(edge) for edge in edges]
    if drawn.is_whole:
        counts = _place(drawn.ids, limits)
        return Histogram(bins_of(edges, counts), since, until)
    try:
        with statement_timeout(VOLUME_SECONDS):
            exact = counting.volume(model, question.filters, _closed(limits))
            if exact or (exact := counted(model, question.filters, limits)):
                return Histogram(bins_of(edges, exact), since, until)
        with statement_timeout(VOLUME_SECONDS):
            counts = estimate(model, question.filters, limits)
    except OperationalError:
        counts = _place(drawn.ids, limits)
        return Histogram(bins_of(edges, counts), since, until, is_whole=False)
    return Histogram(bins_of(edges, counts), since, until, is_estimate=True)


def _place(ids: Iterable[int], limits: Sequence[int]) -> list[int]:
    low, width = limits[0], (limits[-1] - limits[0]) or 1
    counts = [0] * (len(limits) - 1)
    for row_id in ids:
        place = (row_id - low) * len(counts) // width
        counts[min(max(place, 0), len(counts) - 1)] += 1
    return counts


def counted(
    model: RegisteredModel, filters: Filter, limits: Sequence[int]
) -> list[int] | None:
    """Return the number of matches between each two ids; None if more than ``COUNTED`` match."""
    found = matching(model, filters).order_by().values("id")[: COUNTED + 1]
    sql, values = found.query.sql_with_params()
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT width_bucket(id, %s::bigint[]), count(*) "
            f"FROM ({sql}) AS found GROUP BY 1",
            [list(limits[:-1]), *values],
        )
        counts = dict(cursor.fetchall())
    if sum(counts.values()) > COUNTED:
        return None
    return [counts.get(n, 0) for n in range(1, len(limits))]


def estimate(
    model: RegisteredModel, filters: Filter, limits: Sequence[int]
) -> list[int]:
    """Return the estimated number of matches between each two ids."""
    sql, values = matching(model, filters).values("id").query.sql_with_params()
    within = f"({sql}) AS found WHERE id >= part.low AND id < part.high ORDER BY id"
    parts = _parts(limits)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT part.number, count(DISTINCT id), count(*), "
            "max(id) FILTER (WHERE is_first), min(id) FILTER (WHERE NOT is_first) "
            "FROM unnest(%s::bigint[], %s::bigint[]) WITH ORDINALITY "
            "AS part (low, high, number) CROSS JOIN LATERAL ("
            f"(SELECT id, true AS is_first FROM {within} LIMIT {LOOKED_AT}) UNION ALL "
            f"(SELECT id, false FROM {within} DESC LIMIT {LOOKED_AT})"
            ") AS seen GROUP BY 1",
            [[low for low, _ in parts], [high for _, high in parts], *values, *values],
        )
        seen = {number: rest for number, *rest in cursor}
    counts = [0.0] * (len(limits) - 1)
    for number, (low, high) in enumerate(parts):
        if number + 1 in seen:
            count, looked_at, last, first = seen[number + 1]
            # The ends do not overlap: estimate by density; n rows have n - 1 distances.
            if count == looked_at:
                dense = (count - 2) / (last + 1 - low + high - first)
                count = max(count, dense * (high - low))
            counts[number // PARTS] += count
    return [round(count) for count in counts]


def _parts(limits: Sequence[int]) -> list[tuple[int, int]]:
    """Return id ranges ``[low, high)``, ``PARTS`` of them between each two limits."""
    edges = [
        low + (high - low) * n // PARTS
        for low, high in pairwise(limits)
        for n in range(PARTS)
    ]
    return list(pairwise([*edges, _closed(limits)[-1]]))


def _closed(limits: Sequence[int]) -> list[int]:
    """Return the limits with the last one behind its microsecond, which is included."""
    last = first_id_at(moment_of(limits[-1]) + timedelta(microseconds=1))
    return [*limits[:-1], last]
