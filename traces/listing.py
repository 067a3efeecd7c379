"""List the traces of a project, newest first, at a bounded cost.

A trace stands where its first span stands. The spans are walked back in time, some thousand at a
time, and each trace is read at its first one: what it is asked for holds of all of its spans. A
walk ends after ``SECONDS``; the page then has fewer traces than it may have, says up to when it
searched, and its cursor goes on from there. Of a session its spans are looked up by their index.

Spans whose inferences are hidden or removed are not seen. A hidden one still marks the place.
"""

from __future__ import annotations

import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db import connection

from inferences.models import Inference
from istore.errors import Invalid
from istore.models import Project
from traces.models import COLUMN_CHARS, Span

LIMIT, LIMIT_MAX = 50, 500
SECONDS = 2.0  # after which a walk ends
WALKED_FIRST, WALKED = 1_000, 10_000  # spans that one statement walks
OF_SESSION_MAX = 20_000  # spans of a session; of a longer one the traces are walked
SPANS_READ = 20_000  # of a trace, for its sums
OK, ERROR = "ok", "error"
TABLE = Span._meta.db_table

# started_at, trace_id, model_key and span_id of a span: the order of ``span_by_time``.
Place = tuple[datetime, bytes, int, bytes]


@dataclass(frozen=True, slots=True)
class TraceQuery:
    """What traces are asked for.

    ``model_id``, ``service``, ``session``, ``kind`` and ``name`` (a part of it) are those of one
    span of the trace. ``status`` is ``error`` if a span failed, ``ok`` if none did. ``start``
    and ``end`` bound the first span; the seconds are those from the first to the last.
    """

    start: datetime | None = None
    end: datetime | None = None
    model_id: str | None = None
    service: str | None = None
    session: str | None = None
    kind: str | None = None
    status: str | None = None
    name: str | None = None
    least_seconds: float | None = None
    most_seconds: float | None = None
    limit: int = LIMIT
    cursor: str = ""


@dataclass(frozen=True, slots=True)
class Summary:
    """A trace as a list shows it."""

    trace_id: str
    name: str  # of its root, or of the first span
    started_at: datetime
    ended_at: datetime
    span_count: int
    error_count: int
    models: list[str]
    services: list[str]
    sessions: list[str]

    @property
    def took(self) -> timedelta:
        return self.ended_at - self.started_at

    @property
    def duration(self) -> float:
        """The seconds from the first span to the end of the last."""
        return self.took.total_seconds()


@dataclass(slots=True)
class TracePage:
    """Traces, and the cursor behind which the list goes on; None at its end.

    ``searched_until`` is set where the page ended early: older traces were not looked at.
    """

    traces: list[Summary] = field(default_factory=list)
    next: str | None = None
    searched_until: datetime | None = None


def list_traces(project: Project, query: TraceQuery) -> TracePage:
    """Return a page of the project's traces. Raises ``Invalid`` for a cursor of no list."""
    models = dict(project.models.values_list("pk", "model_id"))
    asked = _Asked(project, query, models)
    if asked.is_of_nothing:
        return TracePage()
    page = TracePage()
    before = time.monotonic() + SECONDS
    place: Place | None = None
    for place, summary in _found(asked):
        if summary is not None:
            page.traces.append(summary)
        if len(page.traces) > query.limit:
            del page.traces[query.limit :]
            page.next = write_cursor(asked.places[query.limit - 1])
            return page
        if summary is not None:
            asked.places.append(place)
        elif time.monotonic() > before:
            page.next, page.searched_until = write_cursor(place), place[0]
            return page
    return page


class _Asked:
    """A query with the values of its statements."""

    def __init__(
        self, project: Project, query: TraceQuery, models: dict[int, str]
    ) -> None:
        self.query, self.models = query, models
        self.project = project.pk
        self.after = read_cursor(query.cursor) if query.cursor else None
        self.places: list[Place] = []
        keys = [key for key, name in models.items() if name == query.model_id]
        self.is_of_nothing = not models or (query.model_id is not None and not keys)
        tests, values = ["true"], dict[str, Any]()
        named = {
            "model_key": keys[0] if keys else None,
            "service": _cut(query.service),
            "session": _cut(query.session),
            "kind": query.kind,
        }
        for column, value in named.items():
            if value is not None:
                tests.append(f"span.{column} = %(of_{column})s")
                values[f"of_{column}"] = value
        if query.name:
            tests.append("strpos(lower(span.name), lower(%(of_name)s)) > 0")
            values["of_name"] = query.name
        self.span_test = " AND ".join(tests)
        sums = {
            "errors > 0": query.status == ERROR,
            "errors = 0": query.status == OK,
            "ended - began >= %(least)s": query.least_seconds is not None,
            "ended - began <= %(most)s": query.most_seconds is not None,
        }
        self.sum_test = " AND ".join(
            ["fits", *(s for s, is_on in sums.items() if is_on)]
        )
        values["least"] = timedelta(seconds=query.least_seconds or 0)
        values["most"] = timedelta(seconds=query.most_seconds or 0)
        self.values = values | {"project": project.pk, "spans": SPANS_READ}


def _found(asked: _Asked) -> Iterator[tuple[Place, Summary | None]]:
    """Yield places back in time, each with the trace that is to be listed there, or None."""
    query, after = asked.query, asked.after
    if query.session:
        firsts = _firsts_of_session(asked)
        if firsts is not None:
            yield from _summaries(asked, firsts)
            return
    most = WALKED_FIRST
    while True:
        last, firsts = _walk(asked, after, most)
        yield from _summaries(asked, firsts)
        if last is None:
            return
        yield last, None
        after, most = last, WALKED


def _walk(
    asked: _Asked, after: Place | None, most: int
) -> tuple[Place | None, list[Place]]:
    """Return the place of the last of ``most`` spans, and the first spans of traces among them.

    The place is None if these were the last spans of all.
    """
    values = asked.values | {"rows": most}
    bounds = _bounds(asked.query, after, values)
    with connection.cursor() as cursor:
        cursor.execute(WALK.format(bounds=bounds), values)
        rows = cursor.fetchall()
    firsts = [_place(row) for row in rows if row[4]]
    return (_place(rows[-1]) if len(rows) == most else None), firsts


def _firsts_of_session(asked: _Asked) -> list[Place] | None:
    """Return the first spans of the session's traces, newest first; None if they are too many."""
    values = asked.values | {"rows": OF_SESSION_MAX + 1}
    bounds = _bounds(asked.query, asked.after, values)
    with connection.cursor() as cursor:
        cursor.execute(COUNT_SESSION, values)
        ((count,),) = cursor.fetchall()
        if count > OF_SESSION_MAX:
            return None
        cursor.execute(OF_SESSION.format(bounds=bounds), values)
        return [_place(row) for row in cursor.fetchall()]


def _bounds(query: TraceQuery, after: Place | None, values: dict[str, Any]) -> str:
    tests = []
    if query.start:
        tests.append("span.started_at >= %(start)s")
        values["start"] = query.start
    if query.end:
        tests.append("span.started_at <= %(end)s")
        values["end"] = query.end
    if after:
        columns = ", ".join(f"span.{each}" for each in ORDER)
        tests.append(f"({columns}) < (%(at)s, %(trace)s, %(key)s, %(id)s)")
        values |= dict(zip(("at", "trace", "key", "id"), after, strict=True))
    return "".join(f" AND {test}" for test in tests)


def _summaries(
    asked: _Asked, firsts: list[Place]
) -> Iterator[tuple[Place, Summary | None]]:
    """Yield the traces that begin there and are asked for; None for the others."""
    at = 0
    most = max(asked.query.limit // 2, 20)
    while at < len(firsts):
        some = firsts[at : at + most]
        sums = _sum(asked, [place[1] for place in some])
        yield from ((place, sums.get(place[1])) for place in some)
        at, most = at + most, 1_000


def _sum(asked: _Asked, traces: list[bytes]) -> dict[bytes, Summary]:
    values = asked.values | {"traces": traces}
    sql = SUM.format(span_test=asked.span_test, sum_test=asked.sum_test)
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        rows = cursor.fetchall()
    return {bytes(row[0]): _summary(asked.models, *row) for row in rows}


def _summary(
    models: dict[int, str],
    trace: Any,
    name: str,
    began: datetime,
    ended: datetime,
    spans: int,
    errors: int,
    keys: list[int],
    services: list[str],
    sessions: list[str],
) -> Summary:
    named = sorted(models[key] for key in keys if key in models)
    return Summary(
        bytes(trace).hex(),
        name,
        began,
        ended,
        spans,
        errors,
        named,
        [each for each in services if each],
        [each for each in sessions if each],
    )


def _cut(text: str | None) -> str | None:
    return text if text is None else text[:COLUMN_CHARS]


def _place(row: tuple[Any, ...]) -> Place:
    return row[0], bytes(row[1]), row[2], bytes(row[3])


def write_cursor(place: Place) -> str:
    """Return the cursor of what comes behind a place."""
    at, trace, key, span = place
    text = f"{at.isoformat()} {trace.hex()} {key} {span.hex()}"
    return urlsafe_b64encode(text.encode()).decode().rstrip("=")


def read_cursor(cursor: str) -> Place:
    """Return the place of a cursor. Raises ``Invalid``."""
    try:
        padded = cursor[:300] + "=" * (-len(cursor) % 4)
        at, trace, key, span = urlsafe_b64decode(padded.encode()).decode().split(" ")
        place = (
            datetime.fromisoformat(at),
            bytes.fromhex(trace),
            int(key),
            bytes.fromhex(span),
        )
        if place[0].tzinfo is None or not 0 <= place[2] < 2**31:
            raise ValueError(cursor)
    except ValueError:
        raise Invalid("It is no cursor of this list.", "cursor") from None
    return place


ORDER = ("started_at", "trace_id", "model_key", "span_id")
COLUMNS = ", ".join(f"span.{each}" for each in ORDER)
BACK = ", ".join(f"{each} DESC" for each in ORDER)
# Both sides of a trace's beginning are read from span_by_trace alone; LIMIT fences the probe.
FIRST = f"""
    SELECT first.model_key, first.span_id FROM {TABLE} AS first
    WHERE first.project_key = %(project)s AND first.trace_id = span.trace_id
    ORDER BY first.started_at, first.model_key, first.span_id LIMIT 1
"""
# Served by span_by_time.
WALK = f"""
SELECT {COLUMNS}, (span.model_key, span.span_id) = (first.model_key, first.span_id)
FROM (
    SELECT {COLUMNS} FROM {TABLE} AS span
    WHERE span.project_key = %(project)s{{bounds}} ORDER BY {BACK} LIMIT %(rows)s
) AS span CROSS JOIN LATERAL ({FIRST}) AS first
ORDER BY {BACK}
"""
# Both are served by span_by_session.
COUNT_SESSION = f"""
SELECT count(*) FROM (
    SELECT 1 FROM {TABLE} WHERE project_key = %(project)s AND session = %(of_session)s
    AND session <> '' LIMIT %(rows)s
) AS counted
"""
OF_SESSION = f"""
SELECT {COLUMNS} FROM (
    SELECT DISTINCT trace_id FROM {TABLE} WHERE project_key = %(project)s
    AND session = %(of_session)s AND session <> ''
) AS named CROSS JOIN LATERAL (
    SELECT {COLUMNS} FROM {TABLE} AS span
    WHERE span.project_key = %(project)s AND span.trace_id = named.trace_id
    ORDER BY span.started_at, span.model_key, span.span_id LIMIT 1
) AS span WHERE true{{bounds}} ORDER BY {BACK}
"""
# The fence keeps the planner from reading all inferences to join them.
SUM = f"""
SELECT trace, name, began, ended, spans, errors, models, services, sessions
FROM unnest(%(traces)s::bytea[]) AS trace CROSS JOIN LATERAL (
    SELECT (array_agg(span.name ORDER BY span.parent_id IS NOT NULL, span.started_at,
                      span.ended_at DESC))[1] AS name,
           min(span.started_at) AS began, max(span.ended_at) AS ended, count(*) AS spans,
           count(*) FILTER (WHERE span.is_error) AS errors,
           array_agg(DISTINCT span.model_key) AS models,
           array_agg(DISTINCT span.service) AS services,
           array_agg(DISTINCT span.session) AS sessions,
           bool_or({{span_test}}) AS fits
    FROM (
        SELECT span.* FROM {TABLE} AS span CROSS JOIN LATERAL (
            SELECT 1 FROM {Inference._meta.db_table} AS row
            WHERE row.model_key = span.model_key AND row.id = span.id AND NOT row.deleted
            OFFSET 0
        ) AS live
        WHERE span.project_key = %(project)s AND span.trace_id = trace LIMIT %(spans)s
    ) AS span
) AS sums WHERE spans > 0 AND {{sum_test}}
"""
