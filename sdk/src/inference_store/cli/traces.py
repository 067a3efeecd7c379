"""``istore traces``: list the traces of a project, and show one as a tree of its spans."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Annotated

import typer

from inference_store import Client
from inference_store.cli import output
from inference_store.cli.account import client
from inference_store.cli.app import AsJson, app
from inference_store.errors import NotFound
from inference_store.models import TraceQuery, TraceSpan, TraceSummary

PAGE = 100
MARKS = {True: "✗", False: ""}
traces = typer.Typer(help="Traces: what applications called.", no_args_is_help=True)
app.add_typer(traces, name="traces")

ProjectId = Annotated[
    str, typer.Argument(metavar="PROJECT", help="The id of a project.")
]
TraceId = Annotated[str, typer.Argument(metavar="TRACE", help="32 hexadecimal digits.")]
COLUMNS = ("began", "trace", "name", "seconds", "spans", "errors", "services")


@traces.command("list")
def list_(
    project_id: ProjectId,
    since: Annotated[
        str | None, typer.Option(help="A day, a time, or 24h, 7d, …")
    ] = None,
    until: Annotated[str | None, typer.Option(help="A day, a time, or 24h.")] = None,
    model: Annotated[str | None, typer.Option(help="Of a span.")] = None,
    service: Annotated[str | None, typer.Option(help="Of a span.")] = None,
    session: Annotated[str | None, typer.Option(help="Of a span.")] = None,
    kind: Annotated[
        str | None, typer.Option(help="Of a span: llm, tool, agent, …")
    ] = None,
    status: Annotated[
        str | None, typer.Option(help="error: a span failed; ok: none did.")
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="A part of the name of a span.")
    ] = None,
    least_seconds: Annotated[
        float | None, typer.Option("--min-seconds", help="It took as long, or longer.")
    ] = None,
    most_seconds: Annotated[
        float | None, typer.Option("--max-seconds", help="It took as long, or less.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many at most.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List the traces that match, newest first."""
    query = TraceQuery(
        start=since,
        end=until,
        model=model,
        service=service,
        session=session,
        kind=kind,
        status=status,
        name=name,
        least_seconds=least_seconds,
        most_seconds=most_seconds,
    )
    with client() as store:
        found = islice(_found(store, project_id, query, limit), limit)
        output.show_list(found, COLUMNS, _row, as_json)


def _found(
    store: Client, project_id: str, query: TraceQuery, limit: int
) -> Iterator[TraceSummary]:
    return store.traces.iter_traces(project_id, query, min(limit, PAGE))


def _row(trace: TraceSummary) -> tuple[str, ...]:
    return (
        f"{trace.started_at:%Y-%m-%d %H:%M:%S}",
        trace.trace_id,
        trace.name,
        f"{trace.duration:.3f}",
        str(trace.span_count),
        str(trace.error_count or ""),
        ", ".join(trace.services),
    )


@traces.command()
def show(project_id: ProjectId, trace_id: TraceId, as_json: AsJson = False) -> None:
    """Show the spans of a trace, each indented below the one that called it."""
    with client() as store:
        trace = store.traces.get_trace(project_id, trace_id)
    if trace is None:
        raise NotFound(f"The project {project_id} has no trace {trace_id}.")
    if as_json:
        output.show_json(trace)
        return
    columns = ("span", "kind", "seconds", "tokens", "error", "model", "inference")
    output.show_rows(columns, map(_span_row, trace.spans))


def _span_row(span: TraceSpan) -> tuple[str, ...]:
    tokens = span.total_tokens
    return (
        "  " * min(span.depth, 20) + span.name,
        span.kind,
        f"{span.duration:.3f}",
        "" if tokens is None else str(tokens),
        span.message or MARKS[span.is_error],
        span.model_id,
        span.inference_id,
    )
