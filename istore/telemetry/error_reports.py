"""Reports of errors by Sentry, where ``SENTRY_DSN`` is set; without it nothing is imported.

Reported is what is logged as an error. Of an exception its class and its places leave the store, as
in the log (``istore.log_values``): no message, no local variable, no header, address or body, and
nobody's name.
"""

from __future__ import annotations

import sys
from typing import Any

from django.conf import settings

from istore.log_values import describe
from istore.telemetry import release, request_ids

FRAME = ("filename", "abs_path", "function", "module", "lineno", "in_app")
CAUSES_MOST = 10
# Loggers whose lines are sentences of this code.
OURS = frozenset(
    (
        *("istore", "protocols", "inferences", "ingest", "proxy", "retention"),
        *("exports", "datasets", "quality", "services", "supervisor", "traces"),
    )
)
SHUTDOWN_SECONDS = 2

is_on = False


def begin(role: str) -> None:
    """Report errors of this process from now on, if the settings say where to."""
    global is_on
    if not settings.ISTORE_SENTRY_DSN or is_on:
        return
    import logging

    import sentry_sdk
    from sentry_sdk.integrations.atexit import AtexitIntegration
    from sentry_sdk.integrations.logging import LoggingIntegration

    sentry_sdk.init(
        dsn=settings.ISTORE_SENTRY_DSN,
        release=f"inference-store@{release.VERSION}",
        environment=settings.ISTORE_SENTRY_ENVIRONMENT,
        server_name=role,
        default_integrations=False,
        auto_enabling_integrations=False,
        integrations=[
            LoggingIntegration(level=None, event_level=logging.ERROR),
            AtexitIntegration(callback=lambda pending, timeout: None),
        ],
        include_local_variables=False,
        include_source_context=False,
        max_breadcrumbs=0,
        max_request_body_size="never",
        auto_session_tracking=False,
        send_client_reports=False,
        shutdown_timeout=SHUTDOWN_SECONDS,
        before_send=lambda event, hint: scrub(event, hint, role),
    )
    is_on = True


def scrub(event: Any, hint: dict[str, Any], role: str) -> Any:
    """Return a report with nothing in it but what is listed here."""
    reported: dict[str, Any] = {
        name: event[name]
        for name in ("event_id", "timestamp", "level", "platform", "release", "sdk")
        if name in event
    }
    reported |= {
        "environment": event.get("environment"),
        "server_name": role,
        "logger": event.get("logger"),
        "tags": {"role": role},
    }
    if request_id := request_ids.current():
        reported["tags"]["request_id"] = request_id
    record = hint.get("log_record")
    if record is not None:
        reported["logentry"] = {"message": _template_of(record)}
    if values := (event.get("exception") or {}).get("values"):
        reported["exception"] = {"values": _values(values, hint)}
    return reported


def _template_of(record: Any) -> str:
    """Return the sentence of a log line without the values that were put into it."""
    if isinstance(record.msg, dict):  # of structlog
        return str(record.msg.get("event", ""))[:200]
    # Of a library's line without arguments nobody knows what was put into it.
    is_ours = record.name.partition(".")[0] in OURS
    return str(record.msg)[:200] if is_ours or record.args else f"Of {record.name}"


def _values(values: list[dict[str, Any]], hint: dict[str, Any]) -> list[dict[str, Any]]:
    told = _descriptions((hint.get("exc_info") or sys.exc_info())[1])
    return [
        {
            "type": each.get("type"),
            "module": each.get("module"),
            "value": told.get(str(each.get("type")), ""),
            "stacktrace": {
                "frames": [
                    {name: frame[name] for name in FRAME if name in frame}
                    for frame in (each.get("stacktrace") or {}).get("frames", ())
                ]
            },
        }
        for each in values
    ]


def _descriptions(error: BaseException | None) -> dict[str, str]:
    """Return each error of a chain in a few words without values, by its class."""
    found: dict[str, str] = {}
    for _ in range(CAUSES_MOST):
        if error is None:
            break
        found.setdefault(type(error).__name__, describe(error))
        error = error.__cause__ or error.__context__
    return found
