"""What was answered, synced to a disk before the answer leaves.

A call appends its entry and waits; one thread writes whatever has come together while it
wrote what came before, and syncs it once: group commit. An entry is acknowledged when ``fdatasync`` returned, and when
the name of its segment was synced in its directory. After an error nothing is trusted in
that segment any more: the calls that wait are told, and the next entry opens another. What
is torn at the end of a segment is no entry (``segments.py``).

Entries are taken out by the capture process, which deletes a closed segment when it is done
with it. So segments are closed early, by size and by age.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue

from istore.failpoints import failpoint
from proxy import limits
from proxy.segments import MAGIC, Ownership, Segment, frame, sync_directory

SEGMENT_BYTES = 32 * 2**20
SEGMENT_SECONDS = 2.0
MEASURED_SECONDS = 1.0
WAITING_BYTES = 128 * 2**20  # what may wait for a disk that hangs
AT_ONCE = 200  # times five pieces: fewer than one writev takes

SLOW, FULL, FAILED = "spool-slow", "spool-full", "spool-failed"

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Waiting:
    """One entry on its way to the disk; the outcome is "" or why it is not there."""

    pieces: Sequence[bytes]
    size: int
    outcome: asyncio.Future[str] = field(repr=False)


class Spool:
    """The segments this process writes."""

    def __init__(self, ownership: Ownership) -> None:
        self._ownership = ownership
        self._directory = ownership.directory
        self._incoming: list[Waiting] = []
        self._is_writing = False  # or about to
        self._queue: SimpleQueue[list[Waiting] | None] = SimpleQueue()
        self._patience: deque[tuple[float, asyncio.Future[str]]] = deque()
        self._is_watched = False
        self._waiting_bytes = 0
        self._used, self._measured_at = 0, -MEASURED_SECONDS
        self._segment: Segment | None = None
        self._file = -1
        self._written, self._opened_at, self._opened = 0, 0.0, 0
        self._thread = threading.Thread(
            target=self._write_all, name="spool", daemon=True
        )
        self._thread.start()

    async def append(self, payload: Sequence[bytes]) -> str:
        """Keep the entry durably. Returns "", or the reason why that was not possible.

        What comes too late for the deadline may yet be kept, unacknowledged.
        """
        # Summed here: the thread would have to ask for the interpreter for each.
        pieces = [frame(payload), *payload]
        size = sum(map(len, pieces))
        if self._bytes_used() + size > limits.SPOOL_MAX_BYTES:
            return FULL
        if self._waiting_bytes and self._waiting_bytes + size > WAITING_BYTES:
            return SLOW
        loop = asyncio.get_running_loop()
        outcome: asyncio.Future[str] = loop.create_future()
        self._waiting_bytes += size
        self._used += size
        self._incoming.append(Waiting(pieces, size, outcome))
        if not self._is_writing:
            self._is_writing = True
            loop.call_soon(self._hand_over)
        self._patience.append((loop.time() + limits.SPOOL_DEADLINE_MS / 1000, outcome))
        if not self._is_watched:
            self._is_watched = True
            loop.call_at(self._patience[0][0], self._end_patience, loop)
        return await outcome

    def close(self) -> None:
        """Write what waits, and close the segment."""
        self._hand_over()
        self._queue.put(None)
        self._thread.join()

    def _hand_over(self) -> None:
        """Wake the thread, with all there is; not again before it has done that."""
        batch = self._incoming[:AT_ONCE]
        self._is_writing = bool(batch)
        if batch:
            del self._incoming[:AT_ONCE]
            self._queue.put(batch)

    def _end_patience(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        while self._patience:
            until, outcome = self._patience[0]
            if not outcome.done() and until > now:
                break
            self._patience.popleft()
            _settle(outcome, SLOW)
        self._is_watched = bool(self._patience)
        if self._is_watched:
            loop.call_at(self._patience[0][0], self._end_patience, loop)

    def _bytes_used(self) -> int:
        now = time.monotonic()
        if now - self._measured_at > MEASURED_SECONDS:
            self._measured_at = now
            self._used = size_of(self._directory) + self._waiting_bytes
        return self._used

    # -- in the thread

    def _write_all(self) -> None:
        while True:
            try:
                batch = self._queue.get(timeout=SEGMENT_SECONDS)
            except Empty:
                batch = []
            if batch is None:
                self._close_segment()
                return
            if batch:
                self._write_batch(batch)
            self._close_if_due()

    def _write_batch(self, batch: list[Waiting]) -> None:
        wanted = [each for each in batch if not each.outcome.done()]
        reason = ""
        try:
            if wanted:
                self._write(wanted)
        except Exception as error:
            log.error("The spool cannot be written: %s", error)
            reason = FAILED
            self._close_segment()
        loop = batch[0].outcome.get_loop()
        with suppress(RuntimeError):  # the loop is closed: nobody waits
            loop.call_soon_threadsafe(self._settle_all, batch, reason)

    def _settle_all(self, batch: list[Waiting], reason: str) -> None:
        for each in batch:
            self._waiting_bytes -= each.size
            _settle(each.outcome, reason)
        self._hand_over()

    def _write(self, entries: list[Waiting]) -> None:
        if self._segment is None:
            self._open_segment()
        write_whole(self._file, [piece for each in entries for piece in each.pieces])
        self._written += sum(each.size for each in entries)
        failpoint("proxy.spool_appended")
        os.fdatasync(self._file)
        failpoint("proxy.spool_synced")

    def _open_segment(self) -> None:
        self._opened += 1
        segment = Segment(self._directory, self._ownership.owner, self._opened)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
        self._file = os.open(segment.path, flags, 0o600)
        self._segment = segment
        self._written, self._opened_at = len(MAGIC), time.monotonic()
        write_whole(self._file, [MAGIC])
        sync_directory(self._directory)

    def _close_if_due(self) -> None:
        age = time.monotonic() - self._opened_at
        if self._written >= SEGMENT_BYTES or age >= SEGMENT_SECONDS:
            self._close_segment()

    def _close_segment(self) -> None:
        segment, self._segment = self._segment, None
        if segment is None:
            return
        try:
            os.close(self._file)
            segment.close()
        except OSError as error:
            log.error("A segment of the spool cannot be closed: %s", error)


def write_whole(file: int, pieces: list[bytes]) -> None:
    """Write all of it, however often the system takes less than it was given."""
    wanted = sum(map(len, pieces))
    written = os.writev(file, pieces)
    if written < wanted:
        rest = memoryview(b"".join(pieces))[written:]
        while rest:
            rest = rest[os.write(file, rest) :]


def size_of(directory: Path) -> int:
    """The bytes of all segments, of whichever process."""
    total = 0
    with suppress(FileNotFoundError), os.scandir(directory) as found:
        for each in found:
            if each.name.endswith((".open", ".closed")):
                with suppress(FileNotFoundError):
                    total += each.stat().st_size
    return total


def age_of(directory: Path) -> float:
    """Seconds since the oldest segment was last written; 0 when there is none."""
    oldest = None
    with suppress(FileNotFoundError), os.scandir(directory) as found:
        for each in found:
            if each.name.endswith((".open", ".closed")):
                with suppress(FileNotFoundError):
                    at = each.stat().st_mtime
                    oldest = at if oldest is None else min(at, oldest)
    return max(0.0, time.time() - oldest) if oldest else 0.0


def _settle(outcome: asyncio.Future[str], reason: str) -> None:
    if not outcome.done():
        outcome.set_result(reason)
