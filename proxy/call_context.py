"""Which call this is, as its caller named it: the request id and the trace context.

Both are noted when the head of a request is there, for the task that answers it. Log lines read the
request id (``istore.telemetry.request_ids``), and the exchange takes both along to the record.
"""

from __future__ import annotations

from contextvars import ContextVar

from istore.telemetry import request_ids
from proxy.http.headers import REQUEST_ID, Headers

TRACEPARENT = b"traceparent"

_traceparent: ContextVar[str] = ContextVar("traceparent", default="")


def begin(headers: Headers) -> None:
    """Note how the caller named this call; the task may have answered another one before."""
    given, trace = headers.get(REQUEST_ID), headers.get(TRACEPARENT)
    request_ids.begin(request_ids.read(given) if given else "")
    if trace is not None or _traceparent.get():
        _traceparent.set(request_ids.read_traceparent(trace))


def traceparent() -> str:
    """Return the trace context that the caller gave; "" without one."""
    return _traceparent.get()


def request_id() -> str:
    """Return the id of this call; one of ours where it has none yet."""
    return request_ids.current() or _name(request_ids.make())


def request_id_or(record_id: str, *, is_wish: bool) -> str:
    """Return the id of this call, which is that of its record where the caller gave none.

    An id of a record that a caller wished for may not be plain; then it is one of ours.
    """
    found = request_ids.current()
    if found:
        return found
    if is_wish:
        record_id = request_ids.read(record_id) or request_ids.make()
    return _name(record_id)


def _name(found: str) -> str:
    request_ids.begin(found)
    return found
