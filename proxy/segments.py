"""Segment files of the spool: their form, their names and whose they are.

A segment begins with ``MAGIC``. An entry in it is the length of its payload and the CRC
of it, four bytes each, little-endian, and the payload. The CRC is that of zlib: it has
to tell a torn write from a whole one, which CRC-32 does as well as CRC-32C.

``<owner>.lock`` is held, by flock, by a proxy process and by the capture process it
started; the segments are ``<owner>-<number>.open`` while written and ``.closed`` after.
When nobody holds the lock any more, whoever takes it has inherited the segments.
``<owner>-<number>.done`` says up to where a segment was captured. It is not synced: after
a loss of power some entries are captured again, under the same names.
"""

from __future__ import annotations

import fcntl
import os
import re
import zlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from struct import Struct

MAGIC = b"istore spool 1\n\n"
FRAME = Struct("<II")
DONE = Struct("<Q")
LARGEST = 2**32 - 1
NAME = re.compile(r"(?P<owner>[0-9a-f]{32})-(?P<number>[0-9]{8})\.(?P<state>[a-z]+)")


def frame(payload: Sequence[bytes]) -> bytes:
    """What stands before a payload, which is given in pieces."""
    size, crc = 0, 0
    for piece in payload:
        size += len(piece)
        crc = zlib.crc32(piece, crc)
    if not 0 < size <= LARGEST:
        raise ValueError(f"An entry of {size} bytes has no place in a spool.")
    return FRAME.pack(size, crc)


def is_whole(head: bytes, payload: bytes) -> bool:
    """Whether the payload is the one that was framed by these bytes."""
    return FRAME.unpack(head) == (len(payload), zlib.crc32(payload))


@dataclass(slots=True)
class Segment:
    """One file of entries, written by its owner, read by whoever captures them."""

    directory: Path
    owner: str
    number: int
    is_closed: bool = False

    @property
    def path(self) -> Path:
        return self._named("closed" if self.is_closed else "open")

    def _named(self, state: str) -> Path:
        return self.directory / f"{self.owner}-{self.number:08}.{state}"

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
        try:
            noted = self._named("done").read_bytes()
        except FileNotFoundError:
            return len(MAGIC)
        return DONE.unpack(noted)[0] if len(noted) == DONE.size else len(MAGIC)

    def note_captured(self, end: int) -> None:
        self._named("done").write_bytes(DONE.pack(end))

    def remove(self) -> None:
        for path in (self.path, self._named("done")):
            with suppress(FileNotFoundError):
                path.unlink()

    def set_aside(self) -> None:
        """Keep the file for people to look at, out of everybody's way."""
        with suppress(FileNotFoundError):
            os.rename(self.path, self._named("damaged"))

    def entries(self, start: int) -> Iterator[tuple[bytes, int]]:
        """The whole entries from there on, each with the place where it ends.

        Of whatever was cut short, a prefix: the first that is not whole ends it.
        """
        try:
            file = open(self.path, "rb")  # noqa: SIM115
        except FileNotFoundError:
            return
        with file:
            size = os.fstat(file.fileno()).st_size
            if start == len(MAGIC) and file.read(start) != MAGIC:
                return
            file.seek(start)
            while size - start >= FRAME.size:
                length, crc = FRAME.unpack(file.read(FRAME.size))
                end = start + FRAME.size + length
                if not length or end > size:
                    return
                payload = file.read(length)
                if len(payload) < length or zlib.crc32(payload) != crc:
                    return
                yield payload, end
                start = end

    def rest_after(self, end: int) -> tuple[int, bool]:
        """How many bytes follow the last whole entry, and whether they are damage.

        A write that was cut short ends before its entry does, or left zeros; an entry
        that is all there and does not match its CRC is something else.
        """
        try:
            with open(self.path, "rb") as file:
                file.seek(end)
                head = file.read(FRAME.size)
                rest = len(head) + os.fstat(file.fileno()).st_size - file.tell()
        except FileNotFoundError:
            return 0, False
        if len(head) < FRAME.size:
            return rest, False
        length, _ = FRAME.unpack(head)
        return rest, 0 < length <= rest - FRAME.size


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

    def segments(self) -> list[Segment]:
        return [
            each for each in segments_in(self.directory) if each.owner == self.owner
        ]

    def release(self, *, for_good: bool = False) -> None:
        if for_good:
            with suppress(FileNotFoundError):
                (self.directory / f"{self.owner}.lock").unlink()
        os.close(self.descriptor)


def segments_in(directory: Path) -> list[Segment]:
    """All segments there, oldest first within an owner."""
    found = []
    for name in os.listdir(directory):
        match = NAME.fullmatch(name)
        if match and match["state"] in ("open", "closed"):
            closed = match["state"] == "closed"
            found.append(
                Segment(directory, match["owner"], int(match["number"]), closed)
            )
    return sorted(found, key=lambda each: (each.owner, each.number))


def owners_in(directory: Path) -> list[str]:
    return [name[:-5] for name in os.listdir(directory) if name.endswith(".lock")]


def sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
