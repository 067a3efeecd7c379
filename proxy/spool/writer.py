"""The spool writer: every recorded call is synced to disk before its answer leaves.

A call appends its entry and waits. One thread writes whatever has come together while it wrote
the batch before, and syncs it once: group commit. An entry is acknowledged when ``fdatasync``
has returned, and the name of its segment was synced in its directory.

What a caller is told is always true. While an entry waits for the thread it can be withdrawn,
and is when its deadline passes: then no byte of it is written. Once the thread has taken a
group, all its answers wait for the outcome of the one sync. Only a disk that hangs for longer
than ``ISTORE_SPOOL_SYNC_SECONDS`` ends that wait: the group is then cut off its segment,
durably, before its callers are told. After an error, too, what was written is taken back before
anybody is told, and the next entry opens another segment.

The deadline follows the disk: it is ``ISTORE_SPOOL_DEADLINE_MS``, or three times the duration of
recent syncs if that is longer. In the first seconds of the process, when neither disk nor
process is warm, it is ``ISTORE_SPOOL_DEADLINE_MAX_MS``, which bounds it at any time.

The capture process reads entries, and deletes a closed segment when it is done with it. So
segments are closed early, by size and by age.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from heapq import heappop, heappush
from pathlib import Path
from queue import Empty, SimpleQueue

from istore.blobs.durable_files import sync_directory, write_durably
from istore.failpoints import failpoint
from proxy import limits, waiting
from proxy.spool.frames import HEAD, HEADER, checksum, head, header
from proxy.spool.spool_files import (
    Ownership,
    SpoolFile,
    is_spool_file,
    note_synced,
)

SEGMENT_BYTES = 32 * 2**20  # a segment is closed at this size,
SEGMENT_SECONDS = 2.0  # or at this age
MEASURED_SECONDS = 1.0  # between two measurements of the spool's size
WAITING_BYTES = 128 * 2**20  # of entries in memory that wait for a disk that hangs
# Entries of one group. Each is five buffers (head and four pieces), and one writev takes
# 1,024 of them on Linux.
AT_ONCE = 200
WARM_SECONDS = 10.0  # after the first entry
SYNC_FACTOR, SYNC_MEMORY = (
    3.0,  # the deadline, in recent syncs
    0.9,  # by which the longest sync fades with each later one
)

SLOW, FULL, FAILED = "spool-slow", "spool-full", "spool-failed"

log = logging.getLogger(__name__)


class Abandoned(Exception):
    """The callers of a group were told that it was not recorded, so it must not be kept."""


@dataclass(slots=True, eq=False)
class Waiting:
    """An entry on its way to the disk; its outcome is "" or why it is not kept."""

    pieces: Sequence[bytes]
    length: int
    crc: int
    outcome: asyncio.Future[str] = field(repr=False)
    group: Group | None = None
    is_withdrawn: bool = False
    is_settled: bool = False  # also when its caller was cancelled, and has no outcome


@dataclass(slots=True, eq=False)
class Group:
    """Entries that one sync makes durable, or that are given up together."""

    entries: list[Waiting]
    began: float
    segment: SpoolFile | None = None
    start: int = 0  # of its first byte in the segment
    is_abandoned: bool = False
    is_decided: bool = False


class Spool:
    """Writes the segments of this process."""

    def __init__(self, ownership: Ownership) -> None:
        self._ownership = ownership
        self._directory = ownership.directory
        self._incoming: list[Waiting] = []
        # The thread has a batch, or ``_hand_over`` is scheduled.
        self._is_writing = False
        self._queue: SimpleQueue[list[Waiting] | None] = SimpleQueue()
        # A heap by deadline: an entry's may be earlier than that of one appended before it.
        self._patience: list[tuple[float, int, Waiting]] = []
        self._appended = 0
        self._watch: asyncio.TimerHandle | None = None
        self._waiting_bytes = 0
        self._used, self._measured_at = 0, -MEASURED_SECONDS
        self._full_models: set[str] = set()
        self._warm_at: float | None = None
        self._sync_seconds = 0.0  # the longest recent sync; it fades by SYNC_MEMORY
        # Guards the change of entries' group and withdrawal, and the decision on a group.
        # Both the event loop and the thread take it, so no file is written under it, but
        # for the few bytes of the synced note.
        self._deciding = threading.Lock()
        self._segment: SpoolFile | None = None
        self._file = self._synced = -1
        self._written, self._opened_at, self._opened = 0, 0.0, 0
        self._entries = 0  # of the segment
        self._thread = threading.Thread(
            target=self._write_all, name="spool", daemon=True
        )
        self._thread.start()

    async def append(self, payload: Sequence[bytes], model: str = "") -> str:
        """Keep the entry durably. Return "", or the reason why that was not possible.

        Nothing is kept when there is a reason. ``model`` names the folder that the blobs of the
        entry go to: see ``waiting.py``.
        """
        # The checksum is computed here: the thread would need the interpreter lock for it.
        length = sum(map(len, payload))
        if self._bytes_used() + length > limits.SPOOL_MAX_BYTES:
            return FULL
        if model in self._full_models:
            return waiting.STORAGE
        if self._waiting_bytes and self._waiting_bytes + length > WAITING_BYTES:
            return SLOW
        loop = asyncio.get_running_loop()
        outcome: asyncio.Future[str] = loop.create_future()
        entry = Waiting(payload, length, checksum(payload), outcome)
        self._waiting_bytes += length
        self._used += length
        self._incoming.append(entry)
        if not self._is_writing:
            self._is_writing = True
            loop.call_soon(self._hand_over)
        self._appended += 1
        until = loop.time() + self._deadline()
        heappush(self._patience, (until, self._appended, entry))
        if self._watch is None or until < self._watch.when():
            self._watch_patience(loop)
        # The waiting call may be cancelled. The entry is written all the same, and counts
        # in the bytes that wait until then.
        return await outcome

    def close(self) -> None:
        """Write the entries that wait, and close the segment."""
        while self._incoming:
            self._hand_over()
        self._queue.put(None)
        self._thread.join()

    def _deadline(self) -> float:
        """Return the seconds that an entry may wait for the thread to take it."""
        least = limits.SPOOL_DEADLINE_MS / 1000
        most = max(least, limits.SPOOL_DEADLINE_MAX_MS / 1000)
        now = time.monotonic()
        if self._warm_at is None:
            self._warm_at = now + WARM_SECONDS
        if now < self._warm_at:
            return most
        return max(least, min(most, SYNC_FACTOR * self._sync_seconds))

    def _hand_over(self) -> None:
        """Give the thread a batch of what waits. It is called again when the batch is written."""
        batch = self._incoming[:AT_ONCE]
        self._is_writing = bool(batch)
        if batch:
            del self._incoming[:AT_ONCE]
            self._queue.put(batch)

    def _watch_patience(self, loop: asyncio.AbstractEventLoop) -> None:
        """Set the one timer to the earliest deadline."""
        if self._watch is not None:
            self._watch.cancel()
        until = self._patience[0][0]
        self._watch = loop.call_at(until, self._end_patience, loop)

    def _end_patience(self, loop: asyncio.AbstractEventLoop) -> None:
        """Withdraw the entries whose deadline has passed."""
        now, self._watch = loop.time(), None
        late: list[Waiting] = []
        while self._patience:
            until, _, entry = self._patience[0]
            if not entry.is_settled and until > now:
                break
            heappop(self._patience)
            if not entry.is_settled:
                late.append(entry)
        if late:
            self._withdraw(late, loop)
        if self._patience:
            self._watch_patience(loop)

    def _withdraw(self, late: list[Waiting], loop: asyncio.AbstractEventLoop) -> None:
        """Withdraw late entries that the thread has not taken; limit the wait of the others."""
        with self._deciding:
            withdrawn = [each for each in late if each.group is None]
            for each in withdrawn:
                each.is_withdrawn = True
        groups = {id(each.group): each.group for each in late if each.group}
        self._incoming = [each for each in self._incoming if not each.is_withdrawn]
        self._settle_all(withdrawn, SLOW)
        for group in groups.values():
            wait = group.began + limits.SPOOL_SYNC_SECONDS - time.monotonic()
            loop.call_later(max(0.0, wait), self._give_up, group, loop)

    def _give_up(self, group: Group, loop: asyncio.AbstractEventLoop) -> None:
        """The disk hangs: cut the group off, and tell its callers once that is durable."""
        with self._deciding:
            if group.is_decided or group.is_abandoned:
                return  # the callers get their outcome from whatever decided it
            group.is_abandoned = True
            segment = group.segment
        if segment is None:  # nor will it be: ``_write`` checks is_abandoned first
            self._settle_all(group.entries, SLOW)
            return
        arguments = (segment, group, loop)
        threading.Thread(target=self._cut_off, args=arguments, daemon=True).start()

    def _cut_off(
        self, segment: SpoolFile, group: Group, loop: asyncio.AbstractEventLoop
    ) -> None:
        try:
            segment.cut(group.start)
        except OSError as error:
            # The thread of the spool takes the group back once the disk answers.
            log.error("A group of the spool cannot be cut off: %s", error)
            return
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(self._settle_all, group.entries, SLOW)

    def _bytes_used(self) -> int:
        """Return the bytes on disk and waiting; the disk is measured every ``MEASURED_SECONDS``."""
        now = time.monotonic()
        if now - self._measured_at > MEASURED_SECONDS:
            self._measured_at = now
            self._used = size_of(self._directory) + self._waiting_bytes
            self._full_models = waiting.full_models(self._directory)
        return self._used

    # -- in the thread

    def _warm_up(self) -> None:
        """Create, write and sync a file, which the first call would wait for otherwise."""
        path = self._directory / f"{self._ownership.owner}.warm"
        began = time.monotonic()
        try:
            write_durably(path, [bytes(HEADER.size)])
            path.unlink()
        except OSError as error:
            log.warning("The spool cannot be written: %s", error)
        self._sync_seconds = _since(began)

    def _write_all(self) -> None:
        self._warm_up()
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
        """Write and sync what was not withdrawn of a batch, then settle its calls."""
        group = Group([], time.monotonic())
        with self._deciding:
            group.entries = [each for each in batch if not each.is_withdrawn]
            for each in group.entries:
                each.group = group
        loop = batch[0].outcome.get_loop()
        reason = self._keep(group) if group.entries else ""
        with suppress(RuntimeError):  # the loop is closed: nobody waits
            loop.call_soon_threadsafe(self._end_group, group, reason)

    def _keep(self, group: Group) -> str:
        """Return "" when the group is durable, or why nothing of it is kept."""
        try:
            self._write(group)
            with self._deciding:
                if not group.is_abandoned:
                    group.is_decided = True
                    # It must be noted before anybody is told: capture reads no further
                    # than the note.
                    note_synced(self._synced, self._written)
                    return ""
            raise Abandoned
        except Abandoned:
            log.warning("The disk of the spool hung for %.1f s", _since(group.began))
            reason = SLOW
        except Exception as error:
            log.error("The spool cannot be written: %s", error)
            reason = FAILED
        with self._deciding:
            group.is_decided = True
        self._take_back(group)
        self._close_segment()
        return reason

    def _take_back(self, group: Group) -> None:
        """Remove, durably, what was written of a group whose callers are told it was not kept."""
        if group.segment is None:
            return
        try:
            os.ftruncate(self._file, group.start)
            os.fdatasync(self._file)
        except OSError:
            try:
                group.segment.cut(group.start)
            except OSError as error:
                # The disk does neither: capture may still store these entries.
                log.error("The end of a segment cannot be taken back: %s", error)

    def _end_group(self, group: Group, reason: str) -> None:
        self._settle_all(group.entries, reason)
        self._hand_over()

    def _settle_all(self, entries: list[Waiting], reason: str) -> None:
        """Give all these calls their outcome, in the event loop."""
        for each in entries:
            if not each.is_settled:
                each.is_settled = True
                self._waiting_bytes -= each.length
                if not each.outcome.done():
                    each.outcome.set_result(reason)
            # The heap of deadlines still refers to the entry; its bytes must not stay.
            each.pieces, each.group = (), None

    def _write(self, group: Group) -> None:
        segment = self._segment or self._open_segment()
        with self._deciding:
            if group.is_abandoned:  # ``_give_up`` came while the segment was opened
                raise Abandoned
            group.segment, group.start = segment, self._written
        pieces: list[bytes] = []
        for number, entry in enumerate(group.entries, self._entries):
            pieces.append(head(segment.identity, entry.length, entry.crc, number))
            pieces += entry.pieces
        write_whole(self._file, pieces)
        failpoint("proxy.spool_appended")
        began = time.monotonic()
        os.fdatasync(self._file)
        self._sync_seconds = max(_since(began), self._sync_seconds * SYNC_MEMORY)
        failpoint("proxy.spool_synced")
        self._written += sum(HEAD.size + each.length for each in group.entries)
        self._entries += len(group.entries)

    def _open_segment(self) -> SpoolFile:
        self._opened += 1
        segment = SpoolFile(self._directory, self._ownership.owner, self._opened)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
        self._file = os.open(segment.path, flags, 0o600)
        self._synced = segment.open_synced()
        self._segment = segment
        self._written, self._opened_at = HEADER.size, time.monotonic()
        self._entries = 0
        write_whole(self._file, [header(segment.identity)])
        note_synced(self._synced, 0)
        sync_directory(self._directory)
        return segment

    def _close_if_due(self) -> None:
        age = _since(self._opened_at)
        if self._written >= SEGMENT_BYTES or age >= SEGMENT_SECONDS:
            self._close_segment()

    def _close_segment(self) -> None:
        segment, self._segment = self._segment, None
        if segment is None:
            return
        try:
            os.close(self._file)
            os.close(self._synced)
            segment.close()
        except OSError as error:
            log.error("A segment of the spool cannot be closed: %s", error)


def _since(moment: float) -> float:
    return time.monotonic() - moment


def write_whole(file: int, pieces: list[bytes]) -> None:
    """Write all pieces, however often the system takes less than it was given."""
    wanted = sum(map(len, pieces))
    written = os.writev(file, pieces)
    if written < wanted:
        rest = memoryview(b"".join(pieces))[written:]
        while rest:
            rest = rest[os.write(file, rest) :]


def size_of(directory: Path) -> int:
    """Return the bytes of all segments of all processes, and of entries set apart for models."""
    return sum(each.st_size for each in _segment_stats(directory))


def age_of(directory: Path) -> float:
    """Return the seconds since the oldest segment was last written; 0 when there is none."""
    stats = _segment_stats(directory)
    moments = [each.st_mtime for each in stats if each.st_size > HEADER.size]
    return max(0.0, time.time() - min(moments)) if moments else 0.0


def _segment_stats(directory: Path) -> Iterator[os.stat_result]:
    for each in (directory, *waiting.folders(directory)):
        with suppress(FileNotFoundError), os.scandir(each) as found:
            for entry in found:
                if is_spool_file(entry.name):
                    with suppress(FileNotFoundError):
                        yield entry.stat()
