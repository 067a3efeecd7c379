"""Keep callers' data out of the logs: an error is logged by place and kind, without values.

An erasure does not reach the logs. Messages of exceptions, and of libraries that quote what
they were given, contain metadata values, answers, headers and signed links. So of an error
only its class, its code and its place are logged. Messages of the operating system and of
failed connections contain none of that and are kept.
"""

from __future__ import annotations

import logging
import re
import sys
import traceback
from collections.abc import Iterator, Mapping, MutableMapping
from types import TracebackType
from typing import Any

import redis
from django.core.exceptions import ImproperlyConfigured
from django.db import Error as DatabaseError

# Messages of these are about the installation and the network, never about callers' data.
TELLING = (
    ImportError,
    ImproperlyConfigured,
    redis.ConnectionError,
    redis.TimeoutError,
    RecursionError,
    MemoryError,
)
MOST_CAUSES = 10
# Loggers whose messages quote headers, addresses or bodies.
QUOTING = ("django.security",)


def describe(error: BaseException) -> str:
    """Return the error in a few words, without any value of a caller."""
    name = type(error).__qualname__
    if isinstance(error, DatabaseError):
        return f"{name}{_database_detail(error)}"
    if isinstance(error, OSError) and error.strerror:
        return f"{name}: {error.strerror}"
    if isinstance(error, TELLING):
        return f"{name}: {' '.join(str(error).split())}"
    response = getattr(error, "response", None)  # of an object store
    if isinstance(response, Mapping) and isinstance(response.get("Error"), Mapping):
        operation = getattr(error, "operation_name", "a call")
        code = response["Error"].get("Code")
        kind = (
            name if name == code else f"{name}: {code}"
        )  # boto3 names classes by codes
        return f"{kind} of {operation}"
    return name


def describe_exceptions(
    logger: object, method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Replace exceptions among an event's values by ``describe``; a structlog processor."""
    for key, value in event.items():
        if isinstance(value, BaseException):
            event[key] = describe(value)
    return event


def format_traceback(
    logger: object, method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Replace ``exc_info`` by ``exception``: places and kinds of errors; a structlog processor."""
    given = event.pop("exc_info", None)
    if not given:
        return event
    if isinstance(given, BaseException):
        error: BaseException | None = given
    else:
        error = given[1] if isinstance(given, tuple) else sys.exception()
    if error is not None:
        event["exception"] = "\n".join(_chain(error))
    return event


def clean_record(record: logging.LogRecord) -> None:
    """Remove values from a record of a library, or of a plain logger of ours, in place."""
    kind = record.exc_info[0] if record.exc_info else None
    if record.name.startswith(QUOTING):
        name = record.name.rpartition(".")[2]
        record.msg, record.args = f"A request was refused: {name}", ()
    elif record.name == "py.warnings":
        record.msg, record.args = _warning_place(record.getMessage()), ()
    elif record.name == "asyncio":  # the lines below the first show the exception
        record.msg, record.args = record.getMessage().partition("\n")[0][:100], ()
    elif isinstance(record.args, Mapping):
        known = {"exc": kind.__name__ if kind else "", "traceback": ""}
        hidden = dict.fromkeys(("args", "kwargs"), "…")
        replaced = {**known, **hidden}
        record.args = {
            key: replaced.get(key, _safe(value)) for key, value in record.args.items()
        }
    elif isinstance(record.args, tuple):
        record.args = tuple(map(_safe, record.args))


def log_uncaught(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    """Log an uncaught exception: ``sys.excepthook`` where standard error is a log."""
    if issubclass(kind, KeyboardInterrupt):
        return
    logging.getLogger("istore").critical("uncaught", exc_info=(kind, error, trace))


def _safe(value: object) -> object:
    return describe(value) if isinstance(value, BaseException) else value


def _database_detail(error: BaseException) -> str:
    cause = error.__cause__
    state = getattr(cause, "sqlstate", None)
    if state is None:
        # Without an SQLSTATE the server was not reached; the message says why.
        is_connection = type(error).__name__ in ("OperationalError", "InterfaceError")
        return f": {' '.join(str(error).split())}" if is_connection else ""
    diagnosis = getattr(cause, "diag", None)
    names = [
        getattr(diagnosis, attribute, None)
        for attribute in ("table_name", "column_name", "constraint_name")
    ]
    return f" ({' '.join([state, *filter(None, names)])})"


def _chain(error: BaseException) -> Iterator[str]:
    """Yield the lines of a traceback as Python prints it, without the errors' messages."""
    chain: list[tuple[BaseException, str]] = [(error, "")]
    while len(chain) < MOST_CAUSES:
        last = chain[-1][0]
        cause, link = last.__cause__, "which was the cause of:"
        if cause is None and not last.__suppress_context__:
            cause, link = last.__context__, "during whose handling came:"
        if cause is None or any(cause is known for known, _ in chain):
            break
        chain.append((cause, link))
    for found, link in reversed(chain):
        yield "Traceback (most recent call last):"
        yield "".join(traceback.format_tb(found.__traceback__)).rstrip("\n")
        yield describe(found)
        if link:
            yield link


def _warning_place(message: str) -> str:
    found = re.match(r"(?P<place>[^\n]*?:\d+: \w+)", message)
    return found["place"] if found else "a warning"
