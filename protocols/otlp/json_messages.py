"""Read requests of OTLP in JSON: names in camel case, ids in hexadecimal digits, enums as numbers.

Unknown members are passed over, as the protocol asks of receivers.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from typing import Any

import orjson

from protocols.json_bounds import TooDeep, TooManyValues, check_json
from protocols.otlp.messages import DEPTH_MAX, SPANS_MAX, Budget, clean
from protocols.otlp.spans import Event, Span, Spans, TooMuch, Unreadable

ERROR = 2  # STATUS_CODE_ERROR
NANOSECONDS_MAX = 2**64
HALVES = re.compile("[\ud800-\udfff]")  # of surrogate pairs


def read_spans(body: bytes, *, depth: int, values: int) -> Spans:
    """Return the spans of a request. Raises ``Unreadable`` where it is no request at all."""
    try:
        check_json(body, depth, values)
        request = _load(body)
    except (TooDeep, TooManyValues, ValueError, RecursionError) as error:
        raise Unreadable(f"The JSON cannot be read: {error!s:.200}") from None
    if not isinstance(request, dict):
        raise Unreadable("A request is a JSON object with resourceSpans.")
    found = Spans()
    for of_resource in _objects(request.get("resourceSpans")):
        resource = _member(of_resource, "resource")
        shared = _attributes(resource.get("attributes"), Budget())
        for of_scope in _objects(of_resource.get("scopeSpans")):
            scope = _text(_member(of_scope, "scope").get("name"))
            for span in _objects(of_scope.get("spans")):
                if found.count >= SPANS_MAX:
                    raise TooMuch(f"The request has more than {SPANS_MAX} spans.")
                try:
                    found.read.append(_read_span(span, shared, scope))
                except Unreadable as error:
                    found.refused.append(str(error))
    return found


def _load(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except (
        ValueError
    ):  # half a surrogate pair, for example, which Python's reader takes
        return json.loads(body)


def _read_span(given: dict[str, Any], resource: dict[str, Any], scope: str) -> Span:
    budget = Budget()
    status = _member(given, "status")
    text = json.dumps(given, sort_keys=True, separators=(",", ":"))
    return Span(
        trace_id=_id(given, "traceId"),
        span_id=_id(given, "spanId"),
        parent_id=_id(given, "parentSpanId"),
        name=_text(given.get("name")),
        start=_nanoseconds(given.get("startTimeUnixNano")),
        end=_nanoseconds(given.get("endTimeUnixNano")),
        attributes=_attributes(given.get("attributes"), budget),
        digest=hashlib.sha256(text.encode()).digest(),
        events=tuple(
            Event(
                _text(each.get("name")),
                _nanoseconds(each.get("timeUnixNano")),
                _attributes(each.get("attributes"), budget),
            )
            for each in _objects(given.get("events"))
        ),
        is_error=status.get("code") in (ERROR, "STATUS_CODE_ERROR"),
        message=_text(status.get("message")),
        links=tuple(
            f"{_id(each, 'traceId').hex()}-{_id(each, 'spanId').hex()}"
            for each in _objects(given.get("links"))
        ),
        resource=resource,
        scope=scope,
        size=len(text),
    )


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    """Yield the objects of a list; what else is in it is passed over."""
    for each in value if isinstance(value, list) else ():
        if isinstance(each, dict):
            yield each


def _member(value: dict[str, Any], name: str) -> dict[str, Any]:
    inner = value.get(name)
    return inner if isinstance(inner, dict) else {}


def _text(value: Any) -> str:
    return _clean(value) if isinstance(value, str) else ""


def _clean(text: str) -> str:
    return HALVES.sub("\ufffd", clean(text))


def _id(given: dict[str, Any], name: str) -> bytes:
    value = given.get(name) or ""
    try:
        return bytes.fromhex(value)
    except (TypeError, ValueError):
        raise Unreadable(f"The {name} {value!s:.40} is not hexadecimal.") from None


def _nanoseconds(value: Any) -> int:
    """Return a time; numbers of 64 bits are written as texts, and some write numbers."""
    try:
        moment = int(value or 0)
    except (TypeError, ValueError, OverflowError):
        raise Unreadable(f"{value!s:.40} is no time in nanoseconds.") from None
    if not 0 <= moment < NANOSECONDS_MAX:
        raise Unreadable(f"{value!s:.40} is no time in nanoseconds.")
    return moment


def _attributes(given: Any, budget: Budget) -> dict[str, Any]:
    return {
        _text(each.get("key")): _value(each.get("value"), budget, 1)
        for each in _objects(given)
    }


def _value(given: Any, budget: Budget, depth: int) -> Any:
    budget.take()
    if not isinstance(given, dict) or not given:
        return None
    ((kind, value), *_) = given.items()
    if depth > DEPTH_MAX:
        raise Unreadable(f"A value is nested deeper than {DEPTH_MAX} levels.")
    if kind in ("stringValue", "bytesValue"):
        return _text(value)
    if kind == "intValue":
        return _whole(value)
    if kind == "doubleValue":
        return _number(value)
    if kind == "boolValue":
        return value is True
    inner = value.get("values") if isinstance(value, dict) else None
    if kind == "arrayValue":
        values = inner if isinstance(inner, list) else ()
        return [_value(each, budget, depth + 1) for each in values]
    if kind == "kvlistValue":
        return {
            _text(each.get("key")): _value(each.get("value"), budget, depth + 1)
            for each in _objects(inner)
        }
    return None


def _whole(value: Any) -> int:
    try:
        whole = int(value)
    except (TypeError, ValueError, OverflowError):
        raise Unreadable(f"{value!s:.40} is no whole number.") from None
    if not -(2**63) <= whole < 2**63:
        raise Unreadable(f"{value!s:.40} does not fit 64 bits.")
    return whole


def _number(value: Any) -> float:
    try:
        return float(value)  # "NaN" and "Infinity" are texts
    except (TypeError, ValueError, OverflowError):
        raise Unreadable(f"{value!s:.40} is no number.") from None
