"""Whether calls come so fast that capture should wait until they are through.

What capture writes and syncs goes to the same disk as the spool, and a call waits for the
spool. So while calls come faster than capture would get done anyway it lets them pass,
and works off what they left when they are through, or when so much of the spool is full.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from django.conf import settings

from proxy.spool.frames import HEADER
from proxy.spool.spool_files import SpoolFile

RUSH_PER_SECOND = 200
HELD_SHARE = 0.1
MEASURED_SECONDS = 0.25


class CaptureThrottle:
    """Watches the segments that the proxy writes."""

    def __init__(self) -> None:
        self._sizes: dict[int, int] = {}
        self._measured_at = 0.0
        self._bytes_per_second = 0.0
        self._captured = self._captured_bytes = 0

    def note_captured(self, size: int) -> None:
        """What an entry takes: so bytes tell how many there are."""
        self._captured += 1
        self._captured_bytes += size

    def should_yield(self, segments: Sequence[SpoolFile], used: int) -> bool:
        """``used`` is what the whole spool takes."""
        self._measure(segments)
        if used > settings.ISTORE_SPOOL_MAX_BYTES * HELD_SHARE or not self._captured:
            return False
        usual = self._captured_bytes / self._captured
        return self._bytes_per_second > usual * RUSH_PER_SECOND

    def _measure(self, segments: Sequence[SpoolFile]) -> None:
        passed = time.monotonic() - self._measured_at
        if passed < MEASURED_SECONDS:
            return
        sizes = {each.number: each.size() for each in segments}
        grown = sum(
            max(0, size - self._sizes.get(number, HEADER.size))
            for number, size in sizes.items()
        )
        self._bytes_per_second = grown / passed
        self._sizes = sizes
        self._measured_at += passed
