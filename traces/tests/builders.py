"""Build spans as exporters send them."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue

TRACE = bytes.fromhex("5b8efff798038103d269b633813fc60c")
SECOND = 1_000_000_000
OPENINFERENCE = {
    "openinference.span.kind": "LLM",
    "llm.model_name": "gpt-4o",
    "llm.input_messages.0.message.role": "user",
    "llm.input_messages.0.message.content": "Which ships are in?",
    "llm.output_messages.0.message.role": "assistant",
    "llm.output_messages.0.message.content": "The Aurora.",
    "llm.token_count.prompt": 12,
    "llm.token_count.completion": 4,
    "session.id": "s-1",
}


def put_value(target: AnyValue, value: Any) -> None:
    """Set an ``AnyValue`` to a Python value."""
    if isinstance(value, bool):
        target.bool_value = value
    elif isinstance(value, int):
        target.int_value = value
    elif isinstance(value, float):
        target.double_value = value
    elif isinstance(value, str):
        target.string_value = value
    elif isinstance(value, bytes):
        target.bytes_value = value
    elif isinstance(value, Mapping):
        target.kvlist_value.SetInParent()
        for name, each in value.items():
            entry = target.kvlist_value.values.add()
            entry.key = name
            put_value(entry.value, each)
    elif value is not None:
        target.array_value.SetInParent()
        for each in value:
            put_value(target.array_value.values.add(), each)


def request_of(
    *spans: Mapping[str, Any], service: str = "shop"
) -> ExportTraceServiceRequest:
    """Return a request of spans, each given by the fields that the test is about.

    The fields are id (a number), parent, trace, name, start and end in nanoseconds, attributes,
    events as pairs of name and attributes, and error, a message.
    """
    request = ExportTraceServiceRequest()
    resource = request.resource_spans.add()
    named = resource.resource.attributes.add()
    named.key = "service.name"
    named.value.string_value = service
    scope = resource.scope_spans.add()
    scope.scope.name = "test"
    now = time.time_ns() - 10 * SECOND
    for number, given in enumerate(spans, 1):
        span = scope.spans.add()
        span.trace_id = given.get("trace", TRACE)
        span.span_id = given.get("id", number).to_bytes(8)
        if "parent" in given:
            span.parent_span_id = given["parent"].to_bytes(8)
        span.name = given.get("name", "chat")
        span.start_time_unix_nano = given.get("start", now)
        span.end_time_unix_nano = given.get("end", span.start_time_unix_nano + SECOND)
        for name, value in given.get("attributes", {}).items():
            entry = span.attributes.add()
            entry.key = name
            put_value(entry.value, value)
        for name, attributes in given.get("events", ()):
            event = span.events.add()
            event.name = name
            event.time_unix_nano = span.start_time_unix_nano
            for key, value in attributes.items():
                entry = event.attributes.add()
                entry.key = key
                put_value(entry.value, value)
        if "error" in given:
            span.status.code = 2
            span.status.message = given["error"]
    return request
