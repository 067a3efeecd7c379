"""Traces by OpenTelemetry, where ``OTEL_EXPORTER_OTLP_ENDPOINT`` or ``ISTORE_OTEL_ENDPOINT`` is set.

Without it nothing of OpenTelemetry is imported, and a call pays for reading ``is_on`` alone. Spans
say what was done, how long it took and whether it failed: names of routes, roles and statements'
verbs. No input, answer, token, id or text of an error is in any of them.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from django.conf import settings
from django.db import connections
from django.db.backends.signals import connection_created

from istore.telemetry import release
from istore.telemetry.request_ids import TRACEPARENT

LINKS_MOST = 64  # of one batch to the traces of its events
FLUSH_SECONDS = 2

is_on = False
_provider: Any = None
_tracer: Any = None
_trace: Any = None  # the module ``opentelemetry.trace``

log = logging.getLogger(__name__)


def begin(role: str) -> None:
    """Send spans of this process from now on, if the settings say where to."""
    global is_on, _provider, _tracer, _trace
    endpoint = settings.ISTORE_OTEL_ENDPOINT
    if not endpoint or is_on:
        return
    # Only here: without the setting nobody waits for these imports.
    from opentelemetry import trace
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased

    resource = Resource.create(
        {
            "service.namespace": "inference-store",
            "service.name": f"istore-{role}",
            "service.version": release.VERSION,
            "process.pid": os.getpid(),
        }
    )
    sampler = ParentBased(TraceIdRatioBased(settings.ISTORE_OTEL_PERCENT / 100))
    _provider = TracerProvider(resource=resource, sampler=sampler)
    exporter = OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces")
    _provider.add_span_processor(BatchSpanProcessor(exporter))
    _trace, _tracer = trace, _provider.get_tracer("istore", release.VERSION)
    connection_created.connect(_watch_statements, dispatch_uid="istore.tracing")
    for each in connections.all(initialized_only=True):
        _watch_statements(connection=each)
    is_on = True


@contextmanager
def server_span(name: str, traceparent: str = "") -> Iterator[Any]:
    """Begin a span of a request, below the trace context that its caller gave."""
    parent = _context_of(traceparent)
    with (
        _tracer.start_as_current_span(
            name,
            context=parent,
            kind=_trace.SpanKind.SERVER,
            record_exception=False,
            set_status_on_exception=False,
        ) as span,
        _failing(span),
    ):
        yield span


def client_span(name: str) -> Any:
    """Begin a span of a call to another server; ``end_span`` ends it."""
    return _tracer.start_span(name, kind=_trace.SpanKind.CLIENT)


def begin_span(name: str) -> tuple[Any, Any]:
    """Begin a span for what this thread does until ``end_span``."""
    span = _tracer.start_span(name, kind=_trace.SpanKind.CONSUMER)
    from opentelemetry import context

    return span, context.attach(_trace.set_span_in_context(span))


def end_span(begun: tuple[Any, Any], *, failed: bool = False) -> None:
    """End a span of ``begin_span``."""
    from opentelemetry import context

    span, token = begun
    context.detach(token)
    if failed:
        mark_failed(span)
    span.end()


def batch_span(name: str, traceparents: Iterable[str]) -> AbstractContextManager[Any]:
    """Return a context with a span of a batch, which links to the traces that its events are of."""
    return _batch_span(name, list(traceparents)) if is_on else nullcontext()


@contextmanager
def _batch_span(name: str, traceparents: list[str]) -> Iterator[Any]:
    contexts = [_span_context_of(each) for each in set(filter(None, traceparents))]
    links = [_trace.Link(each) for each in contexts if each][:LINKS_MOST]
    with (
        _tracer.start_as_current_span(
            name,
            kind=_trace.SpanKind.CONSUMER,
            links=links,
            attributes={"messaging.batch.message_count": len(traceparents)},
            record_exception=False,
            set_status_on_exception=False,
        ) as span,
        _failing(span),
    ):
        yield span


def mark_failed(span: Any, kind: str = "") -> None:
    """Mark the span as failed; ``kind`` is a class of error, never its text."""
    span.set_status(_trace.StatusCode.ERROR)
    if kind:
        span.set_attribute("error.type", kind)


def traceparent_of(span: Any) -> str:
    """Return the trace context below which another server begins its spans."""
    found = span.get_span_context()
    flags = int(found.trace_flags)
    return f"00-{found.trace_id:032x}-{found.span_id:016x}-{flags:02x}"


def flush() -> None:
    """Send what waits; for tests, and at the end of a process."""
    if is_on:
        _provider.force_flush(FLUSH_SECONDS * 1000)


@contextmanager
def _failing(span: Any) -> Iterator[None]:
    try:
        yield
    except BaseException as error:
        mark_failed(span, type(error).__qualname__)
        raise


def _span_context_of(traceparent: str) -> Any:
    found = TRACEPARENT.fullmatch(traceparent)
    if found is None:
        return None
    return _trace.SpanContext(
        int(found[1], 16),
        int(found[2], 16),
        is_remote=True,
        trace_flags=_trace.TraceFlags(int(traceparent[53:55], 16)),
    )


def _context_of(traceparent: str) -> Any:
    found = _span_context_of(traceparent)
    if found is None:
        return None
    return _trace.set_span_in_context(_trace.NonRecordingSpan(found))


def _watch_statements(connection: Any, **_: Any) -> None:
    if _trace_statement not in connection.execute_wrappers:
        connection.execute_wrappers.append(_trace_statement)


def _trace_statement(
    execute: Any, sql: Any, values: Any, many: bool, context: Any
) -> Any:
    """Run a statement in a span with its verb: its text may hold what a caller wrote."""
    if not _trace.get_current_span().is_recording():
        return execute(sql, values, many, context)
    verb = sql.lstrip(" (\n").partition(" ")[0][:16].upper() if type(sql) is str else ""
    verb = verb if verb.isalpha() else "STATEMENT"
    with (
        _tracer.start_as_current_span(
            verb,
            kind=_trace.SpanKind.CLIENT,
            attributes={"db.system.name": "postgresql", "db.operation.name": verb},
            record_exception=False,
            set_status_on_exception=False,
        ) as span,
        _failing(span),
    ):
        return execute(sql, values, many, context)
