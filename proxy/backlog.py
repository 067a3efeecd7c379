"""What waits between the proxy and visible rows, for the operator page."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.conf import settings

from ingest.stream import EventStream
from proxy import waiting
from proxy.spool.frames import HEADER
from proxy.spool.spool_files import SpoolFile, spool_files_in


@dataclass(frozen=True, slots=True)
class Stage:
    """What waits at one place, and how fast it is worked off; rates are per second."""

    waiting: int
    oldest: timedelta | None
    rate: float | None  # None: not measured
    growth: float = 0.0

    @property
    def left(self) -> timedelta | None:
        """How long it takes until what waits now is worked off; None if that is unknown."""
        return timedelta(seconds=self.waiting / self.rate) if self.rate else None


def panel() -> dict[str, Any]:
    """Return what waits in the spool of this machine and in the stream.

    Raises ``redis.RedisError`` when the stream does not answer.
    """
    with closing(EventStream()) as stream:
        events = stream.backlog()
    read, added = events.rate_of("read"), events.rate_of("added")
    behind = events.lag.waiting + events.lag.pending
    in_stream = Stage(behind, _age(events.oldest), read, (added or 0.0) - (read or 0.0))
    spool = None
    if settings.ISTORE_SPOOL_DIR.is_dir():
        size, seconds = waiting_in(settings.ISTORE_SPOOL_DIR)
        spool = Stage(size, _age(seconds), events.rate_of("captured"))
    return {
        "spool": spool,
        "stream": in_stream,
        "pending": events.lag.pending,
        "is_empty": not behind and not (spool and spool.waiting),
    }


def waiting_in(directory: Path) -> tuple[int, float | None]:
    """Return the bytes that are not captured, and the age of the oldest of their segments."""
    size, moments = 0, []
    for folder in (directory, *waiting.folders(directory)):
        for each in spool_files_in(folder):
            if (left := left_in(each)) > 0:
                size += left
                moments.append(each.written_at())
    return size, max(0.0, time.time() - min(moments)) if moments else None


def left_in(segment: SpoolFile) -> int:
    """Return the bytes of a segment that are not captured."""
    cut, size = segment.cut_from(), segment.size()
    end = size if cut is None else min(cut, size)
    return end - max(segment.captured_until(), HEADER.size)


def _age(seconds: float | None) -> timedelta | None:
    return None if seconds is None else timedelta(seconds=seconds)
