"""Read requests of OTLP in protobuf: ``ExportTraceServiceRequest``.

Each span is parsed by itself, so one that is malformed is refused alone, and the memory for message
objects is that of one span. A message above ``PARSED_BYTES`` is looked at first: only texts
may be large in it, since a text costs what it weighs, and a list of small values much more.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Iterator
from typing import Any

from google.protobuf.message import DecodeError
from opentelemetry.proto.common.v1.common_pb2 import (
    AnyValue,
    InstrumentationScope,
    KeyValue,
)
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span as SpanMessage
from opentelemetry.proto.trace.v1.trace_pb2 import Status

from protocols.otlp.spans import Event, Span, Spans, TooMuch, Unreadable
from protocols.otlp.wire import LENGTH, Walk

PARSED_BYTES = (
    256 * 1024
)  # of a message, which is parsed without being looked at before
VALUES_MAX = 100_000  # of one span
DEPTH_MAX = 32  # of one value
SPANS_MAX = 20_000  # of one request
COST_MAX = 2 * 2**20  # of a larger one: its bytes that are not text, and its fields
FIELD_COST = 8
# Numbers of fields in the messages of opentelemetry-proto.
RESOURCE_SPANS, RESOURCE, SCOPE_SPANS, SCOPE, SPANS = 1, 1, 2, 1, 2
STRING_VALUE, BYTES_VALUE, VALUE = 1, 7, 2
EVENTS = 11  # of a span
ATTRIBUTES: dict[Any, int] = {
    SpanMessage: 9,
    SpanMessage.Event: 3,
    Resource: 1,
    InstrumentationScope: 3,
}


def read_spans(body: bytes) -> Spans:
    """Return the spans of a request. Raises ``Unreadable`` where it is no request at all."""
    walk = Walk(body)
    found = Spans()
    for number, kind, start, end in walk.fields():
        if number == RESOURCE_SPANS and kind == LENGTH:
            _read_resource_spans(walk, start, end, found)
    return found


def _read_resource_spans(walk: Walk, start: int, end: int, found: Spans) -> None:
    inside = list(_of_length(walk, start, end, (RESOURCE, SCOPE_SPANS)))
    resource: dict[str, Any] = {}
    for number, begin, stop in inside:
        if number == RESOURCE:
            message = _parse(Resource, walk, begin, stop)
            resource |= _attributes(message.attributes, Budget())
    for number, begin, stop in inside:
        if number == SCOPE_SPANS:
            _read_scope_spans(walk, begin, stop, resource, found)


def _read_scope_spans(
    walk: Walk, start: int, end: int, resource: dict[str, Any], found: Spans
) -> None:
    inside = list(_of_length(walk, start, end, (SCOPE, SPANS)))
    scope = ""
    for number, begin, stop in inside:
        if number == SCOPE:
            scope = clean(_parse(InstrumentationScope, walk, begin, stop).name)
    for number, begin, stop in inside:
        if number != SPANS:
            continue
        if found.count >= SPANS_MAX:
            raise TooMuch(f"The request has more than {SPANS_MAX} spans.")
        try:
            found.read.append(_read_span(walk, begin, stop, resource, scope))
        except TooMuch:
            raise
        except Unreadable as error:
            found.refused.append(str(error))


def _read_span(
    walk: Walk, start: int, end: int, resource: dict[str, Any], scope: str
) -> Span:
    message = _parse(SpanMessage, walk, start, end)
    budget = Budget()
    return Span(
        trace_id=message.trace_id,
        span_id=message.span_id,
        parent_id=message.parent_span_id,
        name=clean(message.name),
        start=message.start_time_unix_nano,
        end=message.end_time_unix_nano,
        attributes=_attributes(message.attributes, budget),
        digest=hashlib.sha256(walk.view[start:end]).digest(),
        events=tuple(
            Event(
                clean(each.name),
                each.time_unix_nano,
                _attributes(each.attributes, budget),
            )
            for each in message.events
        ),
        is_error=message.status.code == Status.STATUS_CODE_ERROR,
        message=clean(message.status.message),
        links=tuple(f"{e.trace_id.hex()}-{e.span_id.hex()}" for e in message.links),
        resource=resource,
        scope=scope,
        size=end - start,
    )


def _of_length(
    walk: Walk, start: int, end: int, wanted: tuple[int, ...]
) -> Iterator[tuple[int, int, int]]:
    for number, kind, begin, stop in walk.fields(start, end):
        if number in wanted and kind == LENGTH:
            yield number, begin, stop


def _parse(form: Any, walk: Walk, start: int, end: int) -> Any:
    """Return the message in a range. Raises ``Unreadable`` for a malformed or a costly one."""
    if end - start > PARSED_BYTES and _cost(form, walk, start, end) > COST_MAX:
        raise Unreadable("A span has too many values: only texts may be so large.")
    try:
        return form.FromString(bytes(walk.view[start:end]))
    except DecodeError as error:
        raise Unreadable(f"A message cannot be read: {error!s:.200}") from None


def _cost(form: Any, walk: Walk, start: int, end: int) -> int:
    """Return what the message objects cost, in about their bytes; it may stop above the limit."""
    cost = 0
    for number, kind, begin, stop in walk.fields(start, end):
        if kind == LENGTH and number == ATTRIBUTES[form]:
            cost += _cost_of_attribute(walk, begin, stop)
        elif kind == LENGTH and number == EVENTS and form is SpanMessage:
            cost += FIELD_COST + _cost(SpanMessage.Event, walk, begin, stop)
        else:
            cost += FIELD_COST + stop - begin
        if cost > COST_MAX:
            break
    return cost


def _cost_of_attribute(walk: Walk, start: int, end: int) -> int:
    """Return the cost of an attribute without its text."""
    cost = FIELD_COST
    for number, kind, begin, stop in walk.fields(start, end):
        if number != VALUE or kind != LENGTH:
            cost += stop - begin
            continue
        for inner, _, first, last in walk.fields(begin, stop):
            is_text = inner in (STRING_VALUE, BYTES_VALUE)
            cost += FIELD_COST if is_text else FIELD_COST + last - first
    return cost


class Budget:
    """The number of values that one span may still have."""

    def __init__(self, left: int = VALUES_MAX) -> None:
        self.left = left

    def take(self, count: int = 1) -> None:
        self.left -= count
        if self.left < 0:
            raise Unreadable(f"A span has more than {VALUES_MAX} values.")


def _attributes(given: Iterable[KeyValue], budget: Budget) -> dict[str, Any]:
    return {clean(each.key): _value(each.value, budget, 1) for each in given}


def _value(given: AnyValue, budget: Budget, depth: int) -> Any:
    budget.take()
    kind = given.WhichOneof("value")
    if kind == "string_value":
        return clean(given.string_value)
    if kind == "array_value":
        _check_depth(depth)
        return [_value(each, budget, depth + 1) for each in given.array_value.values]
    if kind == "kvlist_value":
        _check_depth(depth)
        values = given.kvlist_value.values
        return {clean(e.key): _value(e.value, budget, depth + 1) for e in values}
    if kind == "bytes_value":
        return base64.b64encode(given.bytes_value).decode()
    return getattr(given, kind) if kind else None


def _check_depth(depth: int) -> None:
    if depth > DEPTH_MAX:
        raise Unreadable(f"A value is nested deeper than {DEPTH_MAX} levels.")


def clean(text: str) -> str:
    """Return the text as the database can store it: a NUL becomes the replacement character."""
    return text.replace("\0", "\ufffd") if "\0" in text else text
