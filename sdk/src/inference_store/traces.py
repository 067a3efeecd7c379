"""Traces: find them in a project, and read one as a tree of spans."""

from __future__ import annotations

from inference_store.binding import blocking, iterating
from inference_store.models import Trace, TraceQuery, TraceSummary
from inference_store.pages import Page, page_of
from inference_store.pagination import Pages
from inference_store.requests import Call, get, one


@blocking
def list_traces(
    project_id: str,
    query: TraceQuery | None = None,
    *,
    limit: int | None = None,
    cursor: str | None = None,
) -> Call[Page[TraceSummary]]:
    """Return one page of the traces of a project that match, newest first.

    A page may end early, with a cursor: then its ``searched_until`` says how far the search
    came. ``iter_traces`` goes on by itself.

    Parameters:
        project_id: the project.
        query: what is asked for; every trace, when not given.
        limit: traces on the page, 50 when not given, up to 500.
        cursor: the ``next`` of the page before.

    Raises:
        NotFound: there is no such project.
        ValidationError: a value of the query is not valid.
        InferenceStoreError: any other failure.
    """
    return _page(project_id, query, limit, cursor)


@iterating
def iter_traces(
    project_id: str, query: TraceQuery | None = None, page_size: int = 100
) -> Pages[TraceSummary]:
    """Return an iterator over the traces of a project that match, newest first.

    Parameters:
        project_id: the project.
        query: what is asked for; every trace, when not given.
        page_size: how many to fetch in one request, up to 500.

    Raises:
        NotFound: there is no such project.
        ValidationError: a value of the query is not valid.
        InferenceStoreError: any other failure, while iterating.
    """
    return Pages(lambda cursor: _page(project_id, query, page_size, cursor))


@blocking
def get_trace(project_id: str, trace_id: str) -> Call[Trace | None]:
    """Return a trace with its spans, or None if the project has none of this id.

    Parameters:
        project_id: the project.
        trace_id: 32 hexadecimal digits.

    Raises:
        InferenceStoreError: any failure.
    """
    return get(*_of(project_id), trace_id.lower(), read=one(Trace), may_be_absent=True)


def _page(
    project_id: str, query: TraceQuery | None, limit: int | None, cursor: str | None
) -> Call[Page[TraceSummary]]:
    asked = (query or TraceQuery()).model_dump(mode="json", exclude_none=True)
    return get(
        *_of(project_id),
        read=page_of(TraceSummary),
        parameters={**asked, "limit": limit, "cursor": cursor},
    )


def _of(project_id: str) -> tuple[str, ...]:
    return "projects", project_id, "traces"
