"""The id of the request that is being answered, for answers, records and log lines.

A caller may give it as ``X-Request-ID``. Where it gives none, or one that is not plain, a role makes
one. The id is kept in a context variable, which costs a call some 50 ns; the lines of the log read it
(``istore.logs``).
"""

from __future__ import annotations

import re
import secrets
from collections.abc import MutableMapping
from contextvars import ContextVar
from typing import Any

HEADER = "X-Request-ID"
TASK_HEADER = "request_id"  # of a message for a worker
# Plain in a header, a URL and a log line; as long as those of common gateways.
FORM = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/+=@-]{0,127}")
# https://www.w3.org/TR/trace-context/: version, trace, parent, flags. Zeros are no ids.
TRACEPARENT = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-[0-9a-f]{2}"
)

_current: ContextVar[str] = ContextVar("request_id", default="")


def read(given: bytes | str | None) -> str:
    """Return the id that a caller gave, or "" if it gave none that can be used."""
    if not given:
        return ""
    text = given if isinstance(given, str) else given.decode("latin-1")
    return text if FORM.fullmatch(text) else ""


def read_traceparent(given: bytes | str | None) -> str:
    """Return the trace context that a caller gave, or "" if it gave none that is valid."""
    if not given:
        return ""
    text = given if isinstance(given, str) else given.decode("latin-1")
    return text if TRACEPARENT.fullmatch(text) else ""


def trace_id_of(traceparent: str) -> str:
    """Return the id of the trace in a valid trace context; "" without one."""
    found = TRACEPARENT.fullmatch(traceparent)
    return found[1] if found else ""


def make() -> str:
    """Return a new id."""
    return secrets.token_hex(16)


def current() -> str:
    """Return the id of the request that this thread or task works for; "" without one."""
    return _current.get()


begin = _current.set  # the id of the request from now on, in this thread or task


def end() -> None:
    """Forget the id."""
    _current.set("")


def add_request_id(
    logger: object, method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Add the id to a line of the log that has none; a processor of structlog."""
    if (found := _current.get()) and "request_id" not in event:
        event["request_id"] = found
    return event
