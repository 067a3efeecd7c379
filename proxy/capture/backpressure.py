"""Backpressure: capture pauses while calls come in a burst.

Capture and the spool fsync the same disk, and every call waits for the spool. So capture
pauses while the spool grows faster than ``RUSH_PER_SECOND`` entries a second, as long as
less than ``HELD_SHARE`` of it is full, and works off what was left afterwards.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from django.conf import settings

from proxy.spool.frames import HEADER
from proxy.spool.spool_files import SpoolFile

RUSH_PER_SECOND = 200  # entries; below it capture keeps up without slowing calls down
HELD_SHARE = 0.1  # of ISTORE_SPOOL_MAX_BYTES; beyond it capture never pauses
MEASURED_SECONDS = 0.25  # between two measurements of the growth


class CaptureThrottle:
    """Measures how fast the proxy's spool files grow."""

    def __init__(self) -> None:
        self._sizes: dict[int, int] = {}
        self._measured_at = 0.0
        self._bytes_per_second = 0.0
        self._captured = self._captured_bytes = 0

    def note_captured(self, size: int) -> None:
        """Count an entry of this many bytes: the mean turns bytes a second into entries."""
        self._captured += 1
        self._captured_bytes += size

    def should_yield(self, segments: Sequence[SpoolFile], used: int) -> bool:
        """Return whether capture should pause; ``used`` is the size of the spool in bytes."""
        self._measure(segments)
        if used > settings.ISTORE_SPOOL_MAX_BYTES * HELD_SHARE or not self._captured:
            return False
        usual = self._captured_bytes / self._captured
        return self._bytes_per_second > usual * RUSH_PER_SECOND

    def _measure(self, segments: Sequence[SpoolFile]) -> None:
        passed = time.monotonic() - self._measured_at
        if passed < MEASURED_SECONDS:
            return
        sizes = {segment.number: segment.size() for segment in segments}
        grown = sum(
            max(0, size - self._sizes.get(number, HEADER.size))
            for number, size in sizes.items()
        )
        self._bytes_per_second = grown / passed
        self._sizes = sizes
        self._measured_at += passed
