"""What each process does for operators when it begins: ``begin`` with its role.

Settings are those of the process that this one was forked from, so variables that differ from
process to process are read from the environment here.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from django.conf import settings
from django.db import connection

from istore import env
from istore.telemetry import endpoint, error_reports, exposition, metrics, tracing
from istore.telemetry.shared_counts import SharedCounts, read_role

CAPTURE = "capture"  # a role without an endpoint: its proxy tells what it counts
# Whose files are added to the answer of a role.
BESIDE = {metrics.PROXY: CAPTURE}

log = logging.getLogger(__name__)


class Process:
    """This process: its role, and the file that others of the role read."""

    def __init__(self) -> None:
        self.role = ""
        self.shared: SharedCounts | None = None

    def render(self, role: str) -> bytes:
        """Return the metrics of the role, with those of all processes behind its endpoint."""
        own = metrics.count_all(role)
        counted = list(self.shared.all(own)) if self.shared else [own]
        if beside := BESIDE.get(role):
            counted += read_role(settings.ISTORE_HOME.run, beside)
        return exposition.render(role, counted)


process = Process()


def begin(
    role: str, *, number: int | None = None, is_one_of_several: bool = False
) -> None:
    """Begin to be observed as a process of this role.

    One of several processes that share a port or an endpoint writes its counts for the others;
    ``number`` tells them apart, where somebody has numbered them.
    """
    process.role = role
    tracing.begin(role)
    error_reports.begin(role)
    if is_one_of_several or role == CAPTURE:
        share(role, number)
    if role not in (metrics.WEB, metrics.PROXY, CAPTURE):
        _serve(role)


def end() -> None:
    """Send and write what waits, at the end of a process."""
    tracing.flush()
    if process.shared is not None:
        process.shared.write(metrics.count_all(_told_as(process.role)))


def share(role: str, number: int | None) -> None:
    """Write the counts of this process for others of its role, or for its proxy."""
    try:
        process.shared = SharedCounts(settings.ISTORE_HOME.run, role, number)
    except OSError as error:
        log.error("the counts of this process are not shared: %s", error)
        return
    process.shared.keep_written(lambda: metrics.count_all(_told_as(role)))


def _told_as(role: str) -> str:
    """Return the role at whose endpoint the counts of this one are told."""
    return metrics.PROXY if role == CAPTURE else role


def _serve(role: str) -> None:
    port = env.number("ISTORE_METRICS_PORT", 0, most=65535)
    if port:
        endpoint.start(settings.ISTORE_HOST, port, _closing(process.render, role))


def _closing(render: Callable[[str], bytes], role: str) -> Callable[[], bytes]:
    """Return the metrics, and close the connection of the thread that asked the database."""

    def answer() -> bytes:
        try:
            return render(role)
        finally:
            connection.close()

    return answer
