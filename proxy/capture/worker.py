"""The capture process: takes entries out of the spool that the proxy writes, window by window.

A window is what waits in a segment when capture comes by, up to ``WINDOW_ENTRIES`` or the bytes
of a pack. It becomes a pack of inputs and a pack of records (``packing.py``), so the disk is
synced twice for a window and not for an inference. On a disk capture comes by every
``PASS_SECONDS``. On an object store, where each put is paid for, a window is held open for
``ISTORE_PACK_LINGER_MS``, as the spool keeps its entries meanwhile.

It is a process of its own, and runs with idle priority until half of the spool is full: hashing
and uploading blobs costs more CPU time than forwarding does, and no call must wait for that.
The proxy starts it (``capture_process.py``) and it ends with the proxy. The entries left then
are replayed by the next one, or by any other proxy that shares the directory.

Uploads are retried until they succeed; meanwhile the entries stay in the spool. While the blob
store accepts nothing at all, entries wait where they are. While it accepts blobs of other
models, the entries of the failing model are set apart (``waiting.py``) and retried with growing
pauses. An entry is dropped, by noting how far its segment was captured, once its blobs are
uploaded and its events published or left to reconcile (``publishing.py``), or once it is
durably set apart.

A segment is removed when every byte of it was captured or set aside. Bytes that belong to no
whole entry are kept in a ``.damaged`` file, which ``verify`` and readiness report and
``replay_spool`` reads.
"""

from __future__ import annotations

import gc
import logging
import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import django
from django.conf import settings

from ingest.events import InferenceEvent
from istore import blobs
from istore.blobs import packs
from istore.blobs.durable_files import write_durably
from istore.failpoints import failpoint
from istore.telemetry import startup
from istore.uuids import uuid7
from proxy import waiting
from proxy.capture.artifacts import Captured, prepare
from proxy.capture.packing import Packed, pack
from proxy.capture.portions import Call, Unfolding
from proxy.http.encodings import Take
from proxy.publishing import Publisher
from proxy.spool.entries import SpoolEntry
from proxy.spool.frames import HEADER
from proxy.spool.spool_files import (
    Ownership,
    SpoolFile,
    owners_in,
    spool_files_in,
)
from proxy.spool.writer import size_of

URGENT_SHARE = 0.5  # of the spool; above it capture runs with normal priority
LOOK_SECONDS = 0.05  # between two looks at an empty spool
# Between the beginnings of two passes: what came meanwhile makes one window. At 50 calls a
# second that is ten inferences for two files and two syncs.
PASS_SECONDS = 0.2
ADOPT_SECONDS = 3.0  # between two looks for segments whose owner is gone
# Between uploads of one entry; the last repeats.
RETRY_SECONDS = (0.2, 0.5, 1.0, 2.0, 5.0)
ALONE_AFTER = 2  # failed uploads of one entry before we ask whether others succeed
OTHERS_SECONDS = 2.0  # for how long an upload of another model, or a probe, is evidence
WAITING_SECONDS = (1.0, 2.0, 5.0, 10.0, 30.0, 60.0)  # between retries of one model
UNREADABLE_SECONDS = 30.0  # pause after a segment could not be read
WINDOW_ENTRIES = packs.MEMBERS_MAX  # of one window
WINDOWS_AT_ONCE = 4  # in hand, at most: one is put while the next is parsed
BYTES_AT_ONCE = 128 * 2**20  # their payloads, at most: these are in memory
STOP_SECONDS = 10  # from the end of the proxy until this process exits in any case

log = logging.getLogger("proxy.capture.worker")


@dataclass(slots=True)
class Window:
    """Payloads of consecutive spool entries, and the offset where the last one ends."""

    payloads: list[bytes]
    size: int
    end: int


@dataclass(slots=True)
class Outcome:
    """The events of a window that was captured, and the payloads that have to wait, by model."""

    events: list[InferenceEvent] = field(default_factory=list)
    apart: dict[str, list[bytes]] = field(default_factory=dict)


Work = tuple[Future[Outcome], Window]


class Stopped(Exception):
    """The process was told to end; the entries in hand stay in the spool."""


class Capture:
    """Works through the segments of its own proxy, and adopts those whose owner is gone."""

    def __init__(self, directory: Path, owner: str, stop: threading.Event) -> None:
        self._directory = directory
        self._owner = owner
        self._stop = stop
        self._publisher = Publisher(stop)
        most = settings.ISTORE_CAPTURE_CONCURRENCY
        self._idle = ThreadPoolExecutor(most, "capture", step_back)
        self._urgent = ThreadPoolExecutor(most, "urgent")
        self._adopt_at = 0.0
        # Since when a window of an object store is held open; None while nothing waits.
        self._lingers_since: float | None = None
        # Per segment: how far this process read it from its beginning without a gap.
        self._whole_until: dict[str, int] = {}
        # Per segment that could not be read: do not read it before this moment.
        self._unreadable: dict[str, float] = {}
        self.storage = StorageWatch(stop)
        self._unfolding = Unfolding()
        self.retries = WaitingEntries(directory, self.storage, self._unfolding, stop)

    def run(self) -> None:
        """Capture until told to stop."""
        retrying = threading.Thread(target=self.retries.run, name="waiting")
        retrying.start()
        try:
            while not self._stop.is_set():
                began_at = time.monotonic()
                pause = PASS_SECONDS if self.look() else LOOK_SECONDS
                self._stop.wait(max(0.0, began_at + pause - time.monotonic()))
        except Stopped:
            pass
        for threads in (self._idle, self._urgent):
            threads.shutdown(cancel_futures=True)
        retrying.join()

    def look(self) -> bool:
        """Capture everything there is, and return whether there was anything."""
        segments = self._own()
        found = False
        if not self._is_lingering(segments):
            for segment in segments:
                # If a segment could not be renamed to closed, the next one shows that it is.
                is_whole = segment.is_closed or segment is not segments[-1]
                # The proxy is alive: entries that it has not noted as synced may still be
                # withdrawn, so they must not be captured yet.
                limit = segment.synced_until() if segment.has_synced() else None
                found |= self._work_off_readable(segment, is_whole, limit)
        if time.monotonic() >= self._adopt_at:
            self._adopt()
            self._adopt_at = time.monotonic() + ADOPT_SECONDS
        return found

    def _is_lingering(self, segments: list[SpoolFile]) -> bool:
        """Return whether to hold the window open for more entries, as each put is paid for."""
        if not blobs.costs_by_request():
            return False
        # A segment that nothing was captured from holds a header alone at least.
        waiting = sum(
            max(0, each.size() - max(each.captured_until(), HEADER.size))
            for each in segments
        )
        if not waiting or waiting >= settings.ISTORE_PACK_BYTES:
            self._lingers_since = None
            return False
        at = time.monotonic()
        if self._lingers_since is None:
            self._lingers_since = at
        if at - self._lingers_since < settings.ISTORE_PACK_LINGER_MS / 1000:
            return True
        self._lingers_since = None
        return False

    def _work_off_readable(self, segment: SpoolFile, *how: Any) -> bool:
        """Do ``work_off``, but let a file that cannot be read not hold up the others."""
        if time.monotonic() < self._unreadable.get(segment.name, 0.0):
            return False
        try:
            found = self.work_off(segment, *how)
        except FileNotFoundError:  # it was closed a moment ago, so its name changed
            return False
        except OSError as error:
            log.error("%s cannot be captured: %s", segment.path.name, error)
            again = time.monotonic() + UNREADABLE_SECONDS
            self._unreadable[segment.name] = again
            return False
        self._unreadable.pop(segment.name, None)
        return found

    def work_off(
        self, segment: SpoolFile, is_whole: bool, limit: int | None = None
    ) -> bool:
        """Capture the entries of a segment, and return whether there were any.

        ``is_whole`` says that nothing will be appended; then the segment is removed at the end.
        Nothing from the offset ``limit`` on is read.
        """
        start = end = segment.captured_until()
        in_hand: deque[Work] = deque()
        held = 0
        threads = self._urgent if self._is_urgent() else self._idle
        with segment.reading() as file:
            scan = segment.scan(file, start, limit)
            for window in _windows(scan):
                in_hand.append((threads.submit(self._capture, window), window))
                held += window.size
                while len(in_hand) >= WINDOWS_AT_ONCE or held >= BYTES_AT_ONCE:
                    end = self._settle(segment, in_hand)
                    held = sum(each.size for _, each in in_hand)
            while in_hand:
                end = self._settle(segment, in_hand)
            if not scan.gaps and start == self._whole_until.get(segment.name, 0):
                self._whole_until[segment.name] = end
        if is_whole:
            self._finish(segment)
        return end > start

    def _finish(self, segment: SpoolFile) -> None:
        """Remove the segment, after its damaged bytes were kept in another file."""
        whole = self._whole_until.pop(segment.name, None)
        size = segment.size()
        if whole != size or size < segment.synced_until():
            gaps = segment.damage()
            if gaps is not None:
                lost = sum(each.end - each.start for each in gaps)
                kept = segment.set_aside(gaps)
                log.error("%d damaged bytes are kept in %s", lost, kept.name)
        segment.remove()

    def _is_urgent(self) -> bool:
        most = settings.ISTORE_SPOOL_MAX_BYTES
        return size_of(self._directory) > most * URGENT_SHARE

    def _own(self) -> list[SpoolFile]:
        return [
            each
            for each in spool_files_in(self._directory)
            if each.owner == self._owner
        ]

    def _adopt(self) -> None:
        """Replay the segments of owners that are gone: whoever gets their lock owns them."""
        owners = {each.owner for each in spool_files_in(self._directory)}
        for owner in (owners | set(owners_in(self._directory))) - {self._owner}:
            inherited = Ownership.take(self._directory, owner)
            if inherited is None:
                continue
            segments = inherited.segments()
            if segments:
                log.info("Replaying %d segments of %s", len(segments), owner)
            try:
                for segment in segments:
                    self._work_off_readable(segment, True)
            finally:
                inherited.release(for_good=not inherited.segments())

    def _settle(self, segment: SpoolFile, in_hand: deque[Work]) -> int:
        """Publish the events of the oldest window; return where its entries end."""
        work, window = in_hand.popleft()
        outcome = work.result()
        if not self._publisher.publish(outcome.events):
            raise Stopped
        failpoint("capture.published")
        for model, payloads in outcome.apart.items():
            self._keep_apart(model, payloads, segment)
        segment.note_captured(window.end)
        failpoint("capture.dropped")
        self._publisher.note_captured(window.size)
        return window.end

    def _keep_apart(
        self, model: str, payloads: list[bytes], segment: SpoolFile
    ) -> None:
        """Retry until the entries are durable elsewhere: until then the segment must keep them."""
        while True:
            try:
                at = segment.written_at()
                waiting.set_aside(self._directory, model, payloads, at)
            except OSError as error:
                log.warning("Entries of %s cannot be kept apart: %s", model, error)
                if self._stop.wait(RETRY_SECONDS[-1]):
                    raise Stopped from None
            else:
                log.warning(
                    "%d entries of %s are kept apart: its blobs cannot be put",
                    len(payloads),
                    model,
                )
                return

    def _capture(self, window: Window) -> Outcome:
        """Put the inferences of a window, model by model. Raises ``Stopped``."""
        outcome = Outcome()
        with closing(self._unfolding.portions(window.payloads, self._read)) as portions:
            for portion in portions:
                self._put_portion(portion, outcome)
        return outcome

    def _put_portion(self, portion: list[Call], outcome: Outcome) -> None:
        for model, calls in _by_model(portion).items():
            events = self._put(model, [each for _, call in calls for each in call])
            if events is None:
                payloads = [payload for payload, _ in calls]
                outcome.apart.setdefault(model, []).extend(payloads)
            else:
                outcome.events += events

    def _read(self, payload: bytes, take: Take) -> list[Captured]:
        """Return the inferences of an entry; one that cannot be read is set aside in a file."""
        try:
            return list(prepare(SpoolEntry.read(payload), take))
        except Exception:  # a retry would fail again; a person has to look at it
            log.exception("A spool entry cannot be captured, and is set aside")
            write_durably(self._directory / f"{uuid7()}.set-aside", [payload])
            return []

    def _put(
        self, model: str, inferences: list[Captured]
    ) -> list[InferenceEvent] | None:
        """Return the events once everything is put; None if this model alone has to wait.

        Raises ``Stopped``.
        """
        if self.retries.is_waiting(model):
            return None
        events: list[InferenceEvent] = []
        for packed in pack(inferences):
            # What an earlier pack of this call has committed comes again with the call: the
            # listener takes it for a copy then.
            if not self._put_retrying(model, packed):
                return None
            events += packed.events
        return events

    def _put_retrying(self, model: str, packed: Packed) -> bool:
        attempt = 0
        while True:
            try:
                packed.put()
            except Exception as error:  # storages differ in what they raise
                log.warning("A pack cannot be put: %s", error)
            else:
                self.storage.note_put(model)
                return True
            wait = RETRY_SECONDS[min(attempt, len(RETRY_SECONDS) - 1)]
            attempt += 1
            if attempt >= ALONE_AFTER and self.storage.takes_others(model):
                self.retries.expect(model)
                return False
            if self._stop.wait(wait):
                raise Stopped


class StorageWatch:
    """Tells a blob store that accepts nothing from one that rejects a single model's blobs."""

    def __init__(self, stop: threading.Event) -> None:
        self._stop = stop
        self._asking = threading.Lock()
        self._put_at: dict[str, float] = {}
        self._probed_at, self._is_there = -OTHERS_SECONDS, False

    def note_put(self, model: str) -> None:
        """Note that a blob of this model was uploaded now."""
        self._put_at[model] = time.monotonic()

    def takes_others(self, model: str) -> bool:
        """Return whether a blob of another model, or a probe, was uploaded a moment ago."""
        since = time.monotonic() - OTHERS_SECONDS
        latest = list(self._put_at.items())
        if any(at > since for other, at in latest if other != model):
            return True
        with self._asking:
            if self._probed_at < since:
                self._is_there = self._probe()
                self._probed_at = time.monotonic()
            return self._is_there

    def _probe(self) -> bool:
        try:
            blobs.probe()
        except Exception as error:  # storages differ in what they raise
            log.warning("The blob store takes nothing: %s", error)
            return False
        return True


class WaitingEntries:
    """Retries the entries that were set apart, one after the other, in a thread of its own."""

    def __init__(
        self,
        directory: Path,
        storage: StorageWatch,
        unfolding: Unfolding,
        stop: threading.Event,
    ) -> None:
        self._directory = directory
        self._storage = storage
        self._unfolding = unfolding
        self._stop = stop
        self._publisher = Publisher(stop)
        self._tries: dict[str, int] = {}
        self._again_at: dict[str, float] = {}

    def expect(self, model: str) -> None:
        """Note a failed upload of this model: try nothing of it for a while, longer each time."""
        tries = self._tries.get(model, 0)
        pause = WAITING_SECONDS[min(tries, len(WAITING_SECONDS) - 1)]
        self._tries[model] = tries + 1
        self._again_at[model] = time.monotonic() + pause

    def is_waiting(self, model: str) -> bool:
        """Return whether the pause of this model is not over yet."""
        return time.monotonic() < self._again_at.get(model, 0.0)

    def run(self) -> None:
        """Retry until told to stop."""
        step_back()
        while not self._stop.wait(WAITING_SECONDS[0]):
            try:
                self.retry()
            except Stopped:
                return
            except Exception:
                log.exception("Entries that wait could not be tried again")

    def retry(self) -> None:
        """Retry every model whose pause is over."""
        for folder in waiting.folders(self._directory):
            model = folder.name.replace(".", "/")
            if self.is_waiting(model):
                continue
            ownership = Ownership.take(folder, waiting.LOCK)
            if ownership is None:  # another process retries this model now
                continue
            try:
                segments = spool_files_in(folder)
                if all(self._work_off(model, each) for each in segments):
                    self._tries.pop(model, None)
                    if segments:
                        log.info("What waited for %s is captured", model)
            except Stopped:
                raise
            except Exception:  # a fault of this model must not stop the others
                log.exception("What waits for %s could not be tried again", model)
                self.expect(model)
            finally:
                ownership.release()

    def _work_off(self, model: str, segment: SpoolFile) -> bool:
        """Capture a segment and remove it; return False if an upload failed and it stays."""
        for window in _windows(segment.entries(segment.captured_until())):
            if self._stop.is_set():
                raise Stopped
            events: list[InferenceEvent] = []
            for packed in self._packs(window):
                try:
                    packed.put()
                except Exception as error:  # storages differ in what they raise
                    log.warning("%s still waits: %s", model, error)
                    self.expect(model)
                    return False
                self._storage.note_put(model)
                events += packed.events
            if not self._publisher.publish(events):
                raise Stopped
            segment.note_captured(window.end)
        gaps = segment.damage()
        if gaps is not None:
            segment.set_aside(gaps)
        segment.remove()
        return True

    def _packs(self, window: Window) -> Iterator[Packed]:
        def read(payload: bytes, take: Take) -> list[Captured]:
            return list(prepare(SpoolEntry.read(payload), take))

        with closing(self._unfolding.portions(window.payloads, read)) as portions:
            for portion in portions:
                yield from pack(each for _, call in portion for each in call)


def _by_model(calls: Iterable[Call]) -> dict[str, list[Call]]:
    models: dict[str, list[Call]] = {}
    for payload, inferences in calls:
        if inferences:
            model = waiting.model_of(inferences[0].prefix)
            models.setdefault(model, []).append((payload, inferences))
    return models


def _windows(entries: Iterable[tuple[bytes, int]]) -> Iterator[Window]:
    """Yield the entries in windows of at most ``WINDOW_ENTRIES`` and the bytes of a pack."""
    window = Window([], 0, 0)
    for payload, end in entries:
        window.payloads.append(payload)
        window.size += len(payload)
        window.end = end
        if (
            len(window.payloads) == WINDOW_ENTRIES
            or window.size >= settings.ISTORE_PACK_BYTES
        ):
            yield window
            window = Window([], 0, 0)
    if window.payloads:
        yield window


def step_back() -> None:
    """Give this thread the scheduling policy SCHED_IDLE, where the system has it."""
    if hasattr(os, "SCHED_IDLE"):
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


def main(directory: str, owner: str) -> None:
    """Run the capture process of this owner's segments."""
    django.setup()
    # A window is thousands of objects that are no garbage before it is put.
    gc.freeze()
    gc.set_threshold(100_000, 20, 100)
    startup.begin(startup.CAPTURE)
    stop = threading.Event()
    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, lambda *_: stop.set())
    threading.Thread(target=_end_with_proxy, args=(stop,), daemon=True).start()
    Capture(Path(directory), owner, stop).run()
    startup.end()


def _end_with_proxy(stop: threading.Event) -> None:
    """Stop when standard input ends: the proxy holds its other end and never writes to it."""
    while os.read(sys.stdin.fileno(), 1):
        pass
    stop.set()
    time.sleep(STOP_SECONDS)
    os._exit(1)  # a storage call hangs; the entry in hand is still in the spool


if __name__ == "__main__":
    main(*sys.argv[1:])
