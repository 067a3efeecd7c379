"""Segment files of the spool: their names, what is noted beside them, and whose they are.

The form of a segment is told in ``frames.py``. ``<owner>.lock`` is held, by flock, by a
proxy process and by the capture process it started; the segments are ``<owner>-<number>.open``
while written and ``.closed`` after. When nobody holds the lock any more, whoever takes it has
inherited the segments. Beside a segment there may be, of the same name,

- ``.done``: up to where it was captured. It is not synced: after a loss of power some entries
  are captured again, under the same names.
- ``.synced``: up to where its entries are durable, and so may have been acknowledged. It is
  not synced either, and only ever too low after a loss of power.
- ``.cut``: from where its entries do not count, because the callers were told so. This one
  is durable before they are told.
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

from proxy.spool.frames import Gap, Scan, header, identity_of

OFFSET = Struct("<Q")
NAME = re.compile(r"(?P<owner>[0-9a-f]{32})-(?P<number>[0-9]{8})\.(?P<state>[a-z]+)")
NOTES = ("done", "synced", "cut")
ENTRIES = ("open", "closed")  # states of files that hold entries

log = logging.getLogger(__name__)


@dataclass(slots=True)
class SpoolFile:
    """One file of entries, written by its owner, read by whoever captures them."""

    directory: Path
    owner: str
    number: int
    is_closed: bool = False

    @property
    def name(self) -> str:
        return f"{self.owner}-{self.number:08}"

    @property
    def identity(self) -> bytes:
        return identity_of(self.name)

    @property
    def path(self) -> Path:
        return self._named("closed" if self.is_closed else "open")

    def _named(self, state: str) -> Path:
        return self.directory / f"{self.name}.{state}"

    def close(self) -> None:
        """Say that no entry follows those it has."""
        os.rename(self._named("open"), self._named("closed"))
        self.is_closed = True

    def size(self) -> int:
        try:
            return self.path.stat().st_size
        except FileNotFoundError:
            return 0

    def captured_until(self) -> int:
        return self._noted("done") or 0

    def note_captured(self, end: int) -> None:
        self._named("done").write_bytes(OFFSET.pack(end))

    def written_at(self) -> float:
        """When the youngest entry was appended, as the system's clock says."""
        try:
            return self.path.stat().st_mtime
        except FileNotFoundError:
            return time.time()

    def has_synced(self) -> bool:
        """Whether its owner notes what is durable; owners of earlier releases do not."""
        return self._named("synced").exists()

    def synced_until(self) -> int:
        return self._noted("synced") or 0

    def open_synced(self) -> int:
        """A descriptor for ``note_synced``."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC
        return os.open(self._named("synced"), flags, 0o600)

    def cut(self, start: int) -> None:
        """Have no entry count from there on, durably."""
        write_durably(self._named("cut"), [OFFSET.pack(start)])

    def cut_from(self) -> int | None:
        return self._noted("cut")

    def _noted(self, state: str) -> int | None:
        try:
            noted = self._named(state).read_bytes()
        except FileNotFoundError:
            return None
        return OFFSET.unpack(noted)[0] if len(noted) == OFFSET.size else None

    def remove(self) -> None:
        """The file first: notes without a file say nothing, a file without its notes does."""
        for path in (self.path, *map(self._named, NOTES)):
            with suppress(FileNotFoundError):
                path.unlink()

    def set_aside(self, gaps: Sequence[Gap]) -> Path:
        """Keep what belongs to no whole entry for people to look at, durably.

        The whole entries are captured by then and not kept here: what is removed from the
        store later must not come back by a replay.
        """
        path = self._named("damaged")
        with self.reading() as file:
            write_durably(path, [header(self.identity), *_bytes_of(file, gaps)])
        return path

    @contextmanager
    def reading(self) -> Iterator[IO[bytes]]:
        """The open file. Raises OSError when it cannot be read."""
        with open(self.path, "rb") as file:
            yield file

    def scan(self, file: IO[bytes], start: int, limit: int | None = None) -> Scan:
        """Its entries from there on, without those that do not count."""
        limits = [each for each in (limit, self.cut_from()) if each is not None]
        return Scan(file, self.identity, start, min(limits, default=None))

    def entries(
        self, start: int = 0, limit: int | None = None
    ) -> Iterator[tuple[bytes, int]]:
        """The whole entries from there on, each with the place where it ends."""
        with suppress(FileNotFoundError), self.reading() as file:
            yield from self.scan(file, start, limit)

    def damage(self) -> list[Gap] | None:
        """What of it is neither a whole entry nor a write that was never acknowledged.

        None when there is nothing; a list without members when acknowledged bytes are gone
        from its end. A torn end is nothing to keep where no answer can have spoken of it:
        behind what is known to be synced, in a segment that was never closed.
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
    os.pwrite(descriptor, OFFSET.pack(end), 0)


def _bytes_of(file: IO[bytes], gaps: Sequence[Gap]) -> Iterator[bytes]:
    for gap in gaps:
        file.seek(gap.start)
        yield file.read(gap.end - gap.start)


def write_durably(path: Path, pieces: Iterator[bytes] | Sequence[bytes]) -> None:
    """A file that is whole or absent, and named durably when this returns."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with open(partial, "wb") as file:
            for piece in pieces:
                file.write(piece)
            file.flush()
            os.fdatasync(file.fileno())
        os.rename(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


class Ownership:
    """The lock of an owner of segments, held until the process ends or ``release``."""

    def __init__(self, directory: Path, owner: str, descriptor: int) -> None:
        self.directory = directory
        self.owner = owner
        self.descriptor = descriptor

    @classmethod
    def take(cls, directory: Path, owner: str) -> Ownership | None:
        """None while another process lives that holds it."""
        path = directory / f"{owner}.lock"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        return cls(directory, owner, descriptor)

    def segments(self) -> list[SpoolFile]:
        return [
            each for each in spool_files_in(self.directory) if each.owner == self.owner
        ]

    def release(self, *, for_good: bool = False) -> None:
        if for_good:
            # Notes may be left of a segment that was removed while one was written.
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
    """All segments there, oldest first within an owner."""
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
    """Whether capture would read the file of this name."""
    match = NAME.fullmatch(name)
    return match is not None and match["state"] in ENTRIES


def owners_in(directory: Path) -> list[str]:
    return [name[:-5] for name in os.listdir(directory) if name.endswith(".lock")]


def sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
