"""The capture process: takes entries out of the spool, beside the proxy and behind it.

It is a process of its own, and runs on time that nobody else wants until half of the spool
is full: hashing and putting blobs costs more of it than forwarding does, and a call that
waits must not wait for that; nor for the disk (``rushing.py``). The proxy starts it
(``companion.py``) and it ends with the proxy; what is left then is replayed by the next,
or by any other proxy that shares the directory.

A blob that cannot be put is tried again until it can: the spool keeps what waits. An entry
is dropped, by noting how far its segment was captured, when its blobs are put and its
events published or left to reconcile (``publishing.py``).
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import django
from django.conf import settings

from ingest.events import InferenceEvent
from istore.failpoints import failpoint
from istore.uuids import uuid7
from proxy.capture import Captured, prepared, stored
from proxy.entries import SpoolEntry
from proxy.publishing import Publisher
from proxy.rushing import Rush
from proxy.segments import Ownership, Segment, owners_in, segments_in
from proxy.spool import size_of

URGENT_SHARE = 0.5  # of the spool: from there on capture takes its part of the time
LOOK_SECONDS = 0.05
ADOPT_SECONDS = 3.0
RETRY_SECONDS = (0.2, 0.5, 1.0, 2.0, 5.0)
AT_ONCE = 64
BYTES_AT_ONCE = 128 * 2**20
STOP_SECONDS = 10

log = logging.getLogger("proxy.capturing")

Work = tuple[Future[list[InferenceEvent]], int]


class Stopped(Exception):
    """The process was told to end; what is in hand stays in the spool."""


class Capture:
    """Works through segments: its own proxy's, and those that nobody owns any more."""

    def __init__(self, directory: Path, owner: str, stop: threading.Event) -> None:
        self._directory = directory
        self._owner = owner
        self._stop = stop
        self._publisher = Publisher(stop)
        most = settings.ISTORE_CAPTURE_CONCURRENCY
        self._idle = ThreadPoolExecutor(most, "capture", step_back)
        self._urgent = ThreadPoolExecutor(most, "urgent")
        self._adopt_at = 0.0
        self._rush = Rush()

    def run(self) -> None:
        try:
            earlier = {each.number for each in self._own()}
            while not self._stop.is_set():
                if not self.look(earlier):
                    self._stop.wait(LOOK_SECONDS)
        except Stopped:
            pass
        for threads in (self._idle, self._urgent):
            threads.shutdown(cancel_futures=True)

    def look(self, earlier: set[int] = frozenset()) -> bool:
        """Capture all there is; whether there was anything.

        Segments that were there before this process may have been captured in part.
        """
        if self._has_to_wait():
            return False
        segments = self._own()
        found = False
        for segment in segments:
            # A segment that could not be renamed is closed by the one after it.
            is_whole = segment.is_closed or segment is not segments[-1]
            found |= self.work_off(segment, is_whole, segment.number in earlier)
        if time.monotonic() >= self._adopt_at:
            self._adopt()
            self._adopt_at = time.monotonic() + ADOPT_SECONDS
        return found

    def work_off(self, segment: Segment, is_whole: bool, is_replay: bool) -> bool:
        """Capture what lies in it; remove it if that was all there will ever be."""
        start = end = segment.captured_until()
        window: deque[Work] = deque()
        held, is_through = 0, True
        threads = self._urgent if self._is_urgent() else self._idle
        for payload, place in segment.entries(start):
            work = threads.submit(self._capture, payload, is_replay)
            window.append((work, place))
            held += len(payload)
            self._rush.note_captured(len(payload))
            if len(window) >= AT_ONCE or held >= BYTES_AT_ONCE:
                end, held = self._settle(segment, window), 0
                if self._has_to_wait():
                    is_through = False
                    break
        while window:
            end = self._settle(segment, window)
        if is_whole and is_through:
            _finish(segment, end)
        return end > start

    def _has_to_wait(self) -> bool:
        return self._rush.is_on(self._own(), size_of(self._directory))

    def _is_urgent(self) -> bool:
        most = settings.ISTORE_SPOOL_MAX_BYTES
        return size_of(self._directory) > most * URGENT_SHARE

    def _own(self) -> list[Segment]:
        return [
            each for each in segments_in(self._directory) if each.owner == self._owner
        ]

    def _adopt(self) -> None:
        """Replay the segments of owners that are gone."""
        owners = {each.owner for each in segments_in(self._directory)}
        for owner in (owners | set(owners_in(self._directory))) - {self._owner}:
            inherited = Ownership.take(self._directory, owner)
            if inherited is None:
                continue
            segments = inherited.segments()
            if segments:
                log.info("Replaying %d segments of %s", len(segments), owner)
            try:
                for segment in segments:
                    self.work_off(segment, is_whole=True, is_replay=True)
            finally:
                inherited.release(for_good=not inherited.segments())

    def _settle(self, segment: Segment, window: deque[Work]) -> int:
        """Publish the oldest, with those behind it that are ready; how far that is."""
        events: list[InferenceEvent] = []
        end = 0
        while window and (not end or window[0][0].done()):
            work, end = window.popleft()
            events += work.result()
        if not self._publisher.publish(events):
            raise Stopped
        failpoint("capture.published")
        segment.note_captured(end)
        failpoint("capture.dropped")
        return end

    def _capture(self, payload: bytes, is_replay: bool) -> list[InferenceEvent]:
        try:
            inferences = list(prepared(SpoolEntry.read(payload)))
        except Exception:  # of no use to anyone until somebody looks at it
            log.exception("A spool entry cannot be captured, and is set aside")
            (self._directory / f"{uuid7()}.set-aside").write_bytes(payload)
            return []
        return [self._stored(each, is_replay) for each in inferences]

    def _stored(self, captured: Captured, is_replay: bool) -> InferenceEvent:
        attempt = 0
        while True:
            try:
                return stored(captured, is_replay=is_replay or attempt > 0)
            except Exception as error:  # whatever a storage raises
                log.warning("A blob cannot be put: %s: %s", type(error).__name__, error)
            wait = RETRY_SECONDS[min(attempt, len(RETRY_SECONDS) - 1)]
            attempt += 1
            if self._stop.wait(wait):
                raise Stopped


def _finish(segment: Segment, end: int) -> None:
    rest, is_damaged = segment.rest_after(end)
    if rest:
        log.warning("%s ends with %d bytes of no entry", segment.path.name, rest)
    if is_damaged:
        segment.set_aside()
    else:
        segment.remove()


def step_back() -> None:
    """Have this thread run on time that nobody else wants."""
    if hasattr(os, "SCHED_IDLE"):
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


def main(directory: str, owner: str) -> None:
    django.setup()
    stop = threading.Event()
    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, lambda *_: stop.set())
    threading.Thread(target=_end_with_proxy, args=(stop,), daemon=True).start()
    Capture(Path(directory), owner, stop).run()


def _end_with_proxy(stop: threading.Event) -> None:
    """The proxy holds the other end of standard input, and nothing is ever written."""
    while os.read(sys.stdin.fileno(), 1):
        pass
    stop.set()
    time.sleep(STOP_SECONDS)
    os._exit(1)  # a storage that hangs; the entry in hand is still in the spool


if __name__ == "__main__":
    main(*sys.argv[1:])
