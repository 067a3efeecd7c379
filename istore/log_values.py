"""What may stand in a log: where it happened and what kind of error, not whose data it was.

An erasure does not reach the logs. Messages of exceptions, and of libraries that quote what
they were given, hold metadata values, answers, headers and signed links, so they are left
out: of an error its class, its code and its place are told. Messages of the operating
system and of connections that fail hold none of that, and are kept.
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

# These are about the installation and the network, never about what was sent.
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
    """The error in a few words without any value of a caller."""
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
        return f"{name}: {response['Error'].get('Code')} of {operation}"
    return name


def describe_exceptions(
    logger: object, method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """A processor: exceptions among the values of an event are described."""
    for key, value in event.items():
        if isinstance(value, BaseException):
            event[key] = describe(value)
    return event


def format_traceback(
    logger: object, method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """A processor: ``exc_info`` becomes ``exception``, the places and what was raised."""
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
    """Takes values out of the record of a library, or of a plain logger of ours."""
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
    """``sys.excepthook`` of processes whose standard error is a log."""
    if issubclass(kind, KeyboardInterrupt):
        return
    logging.getLogger("istore").critical("uncaught", exc_info=(kind, error, trace))


def _safe(value: object) -> object:
    return describe(value) if isinstance(value, BaseException) else value


def _database_detail(error: BaseException) -> str:
    cause = error.__cause__
    state = getattr(cause, "sqlstate", None)
    if state is None:
        # Without a state the server was not reached, and the message says why not.
        is_connection = type(error).__name__ in ("OperationalError", "InterfaceError")
        return f": {' '.join(str(error).split())}" if is_connection else ""
    diagnosis = getattr(cause, "diag", None)
    names = [
        getattr(diagnosis, attribute, None)
        for attribute in ("table_name", "column_name", "constraint_name")
    ]
    return f" ({' '.join([state, *filter(None, names)])})"


def _chain(error: BaseException) -> Iterator[str]:
    """As Python prints it, the causes first, without what the errors say."""
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
