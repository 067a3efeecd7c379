"""One format of log lines for every process: structlog through the standard library.

Bodies, tokens, signed URLs and callers' values are never logged (``istore.log_values``). The
renderers escape control characters in values.
"""

from __future__ import annotations

import logging
import sys
import threading
from typing import Any

import structlog
from structlog.typing import Processor

from istore.log_values import (
    clean_record,
    describe_exceptions,
    format_traceback,
    log_uncaught,
)
from istore.telemetry import request_ids

SHARED: list[Processor] = [
    structlog.contextvars.merge_contextvars,
    request_ids.add_request_id,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    describe_exceptions,
    format_traceback,
]
# At DEBUG these log whole requests, their signatures and their SQL.
TALKATIVE = (
    "aiohttp",
    "asyncio",
    "boto3",
    "botocore",
    "celery",
    "django.db.backends",
    "django.template",
    "kombu",
    "pyiceberg",
    "s3transfer",
    "urllib3",
)


class Formatter(structlog.stdlib.ProcessorFormatter):
    """A formatter that cleans records of libraries before they are rendered."""

    def __init__(self, renderer: Processor) -> None:
        processors = [self.remove_processors_meta, renderer]
        super().__init__(processors=processors, foreign_pre_chain=SHARED)
        self._render = renderer

    def format(self, record: logging.LogRecord) -> str:
        # A record of structlog has passed ``SHARED`` already.
        if isinstance(record.msg, dict) and hasattr(record, "_logger"):
            return str(self._render(None, "", record.msg.copy()))
        record = logging.makeLogRecord(record.__dict__)  # a copy: others format it
        if not isinstance(record.msg, dict):
            clean_record(record)
        return super().format(record)


def configuration(level: str, *, json: bool) -> dict[str, Any]:
    """Return the ``LOGGING`` of the settings; with ``json`` each line is a JSON object."""
    renderer = (
        structlog.processors.JSONRenderer()
        if json
        else structlog.processors.LogfmtRenderer(
            key_order=["timestamp", "level", "logger", "event"], bool_as_flag=False
        )
    )
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *SHARED,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    # No line shows where it was written, nor by which thread; finding out costs a third of
    # it. The documentation of ``logging`` names these switches.
    logging._srcfile = None
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging.logAsyncioTasks = False  # type: ignore[attr-defined]  # since 3.12
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "line": {"()": Formatter, "renderer": renderer},
        },
        "handlers": {
            "console": {"class": "logging.StreamHandler", "formatter": "line"}
        },
        "root": {"handlers": ["console"], "level": level},
        "loggers": {
            **{name: {"level": "WARNING"} for name in TALKATIVE},
            # The development server logs whole URLs, which may hold signatures.
            "django.server": {"level": "CRITICAL"},
            # granian logs a response that breaks off midway.
            "_granian": {"handlers": ["console"], "propagate": False},
        },
    }


def hold_values_back() -> None:
    """Send warnings and uncaught errors through the log, so that they are cleaned, too.

    It does nothing at a terminal, where a person reads them.
    """
    if sys.stderr is None or sys.stderr.isatty():
        return
    logging.captureWarnings(True)
    sys.excepthook = log_uncaught
    threading.excepthook = lambda given: log_uncaught(
        given.exc_type, given.exc_value or given.exc_type(), given.exc_traceback
    )
