"""Segment files of the spool: their names, the notes beside them, and their owners.

The format of a segment is described in ``frames.py``. ``<owner>.lock`` is held, by flock, by a
proxy process and by the capture process it started. The segments are ``<owner>-<number>.open``
while they are written and ``.closed`` afterwards. When no process holds the lock any more, the
next one that takes it owns the segments. Beside a segment there may be notes of the same name:

- ``.done``: the offset up to which it was captured. It is not synced: after a loss of power
  some entries are captured again, and the listener drops the copies.
- ``.synced``: the offset up to which its entries are durable, and so may have been
  acknowledged. It is not synced either; after a loss of power it is at most too low.
- ``.cut``: the offset from which entries do not count, because their callers were told that
  they were not recorded. It is durable before they are told.
"""

from __future__ import annotations

import fcntl
import logging
import os
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from struct import Struct
from typing import IO

from istore.blobs.durable_files import write_durably
from proxy.spool.frames import Gap, Scan, header, identity_of

OFFSET = Struct("<Q")  # what a note holds
NAME = re.compile(r"(?P<owner>[0-9a-f]{32})-(?P<number>[0-9]{8})\.(?P<state>[a-z]+)")
NOTES = ("done", "synced", "cut")
ENTRIES = ("open", "closed")  # states of files that hold entries

log = logging.getLogger(__name__)


@dataclass(slots=True)
class SpoolFile:
    """One segment: a file of entries, written by its owner and read by capture."""

    directory: Path
    owner: str
    number: int
    is_closed: bool = False

    @property
    def name(self) -> str:
        """The name of the file and of its notes, without a suffix."""
        return f"{self.owner}-{self.number:08}"

    @property
    def identity(self) -> bytes:
        """What stands before each entry of the file."""
        return identity_of(self.name)

    @property
    def path(self) -> Path:
        """The path of the file, by its state."""
        return self._named("closed" if self.is_closed else "open")

    def _named(self, state: str) -> Path:
        return self.directory / f"{self.name}.{state}"

    def close(self) -> None:
        """Rename the segment from open to closed: no entry will be appended."""
        os.rename(self._named("open"), self._named("closed"))
        self.is_closed = True

    def size(self) -> int:
        """Return its size in bytes; 0 if there is no such file."""
        try:
            return self.path.stat().st_size
        except FileNotFoundError:
            return 0

    def captured_until(self) -> int:
        """Return the offset up to which it was captured."""
        return self._noted("done") or 0

    def note_captured(self, end: int) -> None:
        """Note the offset up to which it was captured."""
        self._named("done").write_bytes(OFFSET.pack(end))

    def written_at(self) -> float:
        """Return when the youngest entry was appended, by the system's clock."""
        try:
            return self.path.stat().st_mtime
        except FileNotFoundError:
            return time.time()

    def has_synced(self) -> bool:
        """Return whether its owner notes what is durable; owners of earlier releases do not."""
        return self._named("synced").exists()

    def synced_until(self) -> int:
        """Return the offset up to which its entries are durable."""
        return self._noted("synced") or 0

    def open_synced(self) -> int:
        """Return a file descriptor for ``note_synced``."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC
        return os.open(self._named("synced"), flags, 0o600)

    def cut(self, start: int) -> None:
        """Make all entries from this offset on not count, durably."""
        write_durably(self._named("cut"), [OFFSET.pack(start)])

    def cut_from(self) -> int | None:
        """Return the offset from which entries do not count; None if all count."""
        return self._noted("cut")

    def _noted(self, state: str) -> int | None:
        try:
            noted = self._named(state).read_bytes()
        except FileNotFoundError:
            return None
        return OFFSET.unpack(noted)[0] if len(noted) == OFFSET.size else None

    def remove(self) -> None:
        """Remove the file, then its notes.

        In this order, because notes without a file mean nothing, while a file without its notes
        would count as not captured.
        """
        for path in (self.path, *map(self._named, NOTES)):
            with suppress(FileNotFoundError):
                path.unlink()

    def set_aside(self, gaps: Sequence[Gap]) -> Path:
        """Keep the bytes that belong to no whole entry in a ``.damaged`` file, durably.

        The whole entries were captured and are not kept: a replay must not bring back what is
        removed from the store later.
        """
        path = self._named("damaged")
        with self.reading() as file:
            write_durably(path, [header(self.identity), *_bytes_of(file, gaps)])
        return path

    @contextmanager
    def reading(self) -> Iterator[IO[bytes]]:
        """Yield the open file. Raises OSError when it cannot be read."""
        with open(self.path, "rb") as file:
            yield file

    def scan(self, file: IO[bytes], start: int, limit: int | None = None) -> Scan:
        """Return a scan of the entries from ``start`` on, without those that do not count."""
        limits = [each for each in (limit, self.cut_from()) if each is not None]
        return Scan(file, self.identity, start, min(limits, default=None))

    def entries(
        self, start: int = 0, limit: int | None = None
    ) -> Iterator[tuple[bytes, int]]:
        """Yield the whole entries from ``start`` on, each with the offset where it ends."""
        with suppress(FileNotFoundError), self.reading() as file:
            yield from self.scan(file, start, limit)

    def damage(self) -> list[Gap] | None:
        """Return the gaps that may hold acknowledged bytes; None if the segment is undamaged.

        The list is empty when acknowledged bytes are missing from the end. A torn end does not
        count as damage where no answer can have acknowledged it: behind the synced offset, in a
        segment that was never closed.
        """
        with self.reading() as file:
            scan = self.scan(file, 0)
            for _ in scan:
                pass
            synced = min(self.synced_until(), scan.limit or 2**63)
            gaps = [
                each
                for each in scan.gaps
                if self.is_closed or each.start < synced or not scan.is_torn(each)
            ]
        return gaps if gaps or scan.size < synced else None


def note_synced(descriptor: int, end: int) -> None:
    """Note the offset up to which the entries of a segment are durable."""
    os.pwrite(descriptor, OFFSET.pack(end), 0)


def _bytes_of(file: IO[bytes], gaps: Sequence[Gap]) -> Iterator[bytes]:
    for gap in gaps:
        file.seek(gap.start)
        yield file.read(gap.end - gap.start)


class Ownership:
    """The file lock of an owner of segments, held until the process ends or ``release``."""

    def __init__(self, directory: Path, owner: str, descriptor: int) -> None:
        self.directory = directory
        self.owner = owner
        self.descriptor = descriptor

    @classmethod
    def take(cls, directory: Path, owner: str) -> Ownership | None:
        """Take the lock; None while another live process holds it."""
        path = directory / f"{owner}.lock"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        return cls(directory, owner, descriptor)

    def segments(self) -> list[SpoolFile]:
        """Return the segments of this owner, oldest first."""
        return [
            each for each in spool_files_in(self.directory) if each.owner == self.owner
        ]

    def release(self, *, for_good: bool = False) -> None:
        """Give up the lock; ``for_good`` also removes the lock file and left-over notes."""
        if for_good:
            # A note may have been written while its segment was removed.
            for path in (
                self.directory / f"{self.owner}.lock",
                *(
                    p
                    for note in NOTES
                    for p in self.directory.glob(f"{self.owner}-*.{note}")
                ),
            ):
                path.unlink(missing_ok=True)
        os.close(self.descriptor)


def spool_files_in(directory: Path) -> list[SpoolFile]:
    """Return all segments in the directory, oldest first within an owner."""
    found = []
    for name in os.listdir(directory):
        match = NAME.fullmatch(name)
        if match and match["state"] in ENTRIES:
            closed = match["state"] == "closed"
            found.append(
                SpoolFile(directory, match["owner"], int(match["number"]), closed)
            )
    return sorted(found, key=lambda each: (each.owner, each.number))


def is_spool_file(name: str) -> bool:
    """Return whether capture would read a file of this name."""
    match = NAME.fullmatch(name)
    return match is not None and match["state"] in ENTRIES


def owners_in(directory: Path) -> list[str]:
    """Return all owners that have a lock file in the directory."""
    return [name[:-5] for name in os.listdir(directory) if name.endswith(".lock")]
