"""Streaming writers of ZIP and TAR archives: one pass, with one entry in memory.

Both append to a sink, and list their entries in temporary files, so memory does not grow with
the number of entries. Python's own writers keep a record of every entry in memory.
"""

from __future__ import annotations

import hashlib
import io
import struct
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import IO, Any, Protocol

import orjson

from exports import scratch

CHUNK = 256 * 1024
SMALL = 1024**2  # bytes up to which a file of ``writing`` stays in memory
FILE_MODE = 0o644


class Sink(Protocol):
    """A target for the bytes of an archive."""

    def write(self, content: bytes) -> Any: ...


class Closeable(Protocol):
    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of an archive: its path, size in bytes and SHA-256."""

    path: str
    size: int
    sha256: str


class Archive:
    """The base of archives. Entries keep the order in which they are added.

    ``entries`` reads the list of them back from a temporary file.
    """

    def __init__(self, sink: Sink, modified_at: datetime) -> None:
        self.sink = sink
        self.modified_at = modified_at
        self.size = 0
        self.count = 0
        # The offset and length in bytes of the last entry's content.
        self.content_at = self.content_size = 0
        self._entries = scratch.on_disk()
        self._kept: list[Closeable] = [self._entries]

    def add(self, path: str, content: bytes) -> None:
        """Add a small file."""
        with io.BytesIO(content) as file:
            self.add_file(path, file)

    def add_file(self, path: str, file: IO[bytes]) -> None:
        """Add the whole content of a file. The file stays open."""
        file.seek(0)
        digest, crc, size = hashlib.sha256(), 0, 0
        while chunk := file.read(CHUNK):
            digest.update(chunk)
            crc = zlib.crc32(chunk, crc)
            size += len(chunk)
        file.seek(0)
        self._begin(path, size, crc)
        self.content_at, self.content_size = self.size, size
        while chunk := file.read(CHUNK):
            self._write(chunk)
        self._end(size)
        self.count += 1
        entry = {"path": path, "size": size, "sha256": digest.hexdigest()}
        self._entries.write(orjson.dumps(entry) + b"\n")

    @contextmanager
    def writing(self, path: str) -> Iterator[IO[bytes]]:
        """Yield a file to write to; it is added under this path when the block ends."""
        with scratch.spooled(SMALL) as file:
            yield file
            self.add_file(path, file)

    def scratch(self) -> IO[bytes]:
        """Return a temporary file that is closed with the archive."""
        file = scratch.on_disk()
        self.keep(file)
        return file

    def keep(self, thing: Closeable) -> None:
        """Close ``thing`` when the archive is closed, finished or not."""
        self._kept.append(thing)

    def entries(self) -> Iterator[Entry]:
        """Yield the entries added so far."""
        self._entries.seek(0)
        for line in self._entries:
            yield Entry(**orjson.loads(line))
        self._entries.seek(0, 2)

    def finish(self) -> None:
        """Write the end of the archive; nothing can be added after it."""
        raise NotImplementedError

    def close(self) -> None:
        """Close all temporary files."""
        for thing in self._kept:
            thing.close()

    def _begin(self, path: str, size: int, crc: int) -> None:
        raise NotImplementedError

    def _end(self, size: int) -> None:
        raise NotImplementedError

    def _write(self, content: bytes) -> None:
        self.sink.write(content)
        self.size += len(content)


class TarArchive(Archive):
    """A TAR archive in POSIX.1-2001 (pax) format, which keeps long and non-ASCII names."""

    def _begin(self, path: str, size: int, crc: int) -> None:
        entry = tarfile.TarInfo(path)
        entry.size = size
        entry.mode = FILE_MODE
        entry.mtime = int(self.modified_at.timestamp())
        self._write(entry.tobuf(tarfile.PAX_FORMAT))

    def _end(self, size: int) -> None:
        self._write(bytes(-size % tarfile.BLOCKSIZE))

    def finish(self) -> None:
        self._write(bytes(2 * tarfile.BLOCKSIZE))
        self._write(bytes(-self.size % tarfile.RECORDSIZE))


# The records of APPNOTE.TXT 6.3.10 (PKWARE): sections 4.3.7, 4.3.12, 4.3.14 to 4.3.16.
LOCAL = struct.Struct("<4s5H3L2H")
CENTRAL = struct.Struct("<4s6H3L5H2L")
END_64 = struct.Struct("<4sQ2H2L4Q")
LOCATOR_64 = struct.Struct("<4sLQL")
END = struct.Struct("<4s4H2LH")
EXTRA_64 = struct.Struct("<2H3Q")
FULL_16, FULL_32 = 0xFFFF, 0xFFFFFFFF
STORED, UTF_8, UNIX = 0, 1 << 11, 3
PLAIN_VERSION, VERSION_64 = 20, 45
EXTRA_64_ID = 0x0001


class ZipArchive(Archive):
    """A ZIP archive without compression, because most inputs are compressed already.

    ZIP64 records are written only where a size or a count needs them.
    """

    def __init__(self, sink: Sink, modified_at: datetime) -> None:
        super().__init__(sink, modified_at)
        at = max(modified_at, modified_at.replace(year=1980))
        self._date = (at.year - 1980) << 9 | at.month << 5 | at.day
        self._time = at.hour << 11 | at.minute << 5 | at.second // 2
        self._directory = self.scratch()

    def _begin(self, path: str, size: int, crc: int) -> None:
        name = path.encode()
        offset = self.size
        large = size >= FULL_32 or offset >= FULL_32
        version = VERSION_64 if large else PLAIN_VERSION
        extra, shown, start = b"", size, offset
        if large:
            shown = start = FULL_32
            extra = EXTRA_64.pack(EXTRA_64_ID, EXTRA_64.size - 4, size, size, offset)
        stamp = (self._time, self._date, crc, shown, shown, len(name))
        # A local header has no offset: its ZIP64 extra field holds only the two sizes.
        local = struct.pack("<2H2Q", EXTRA_64_ID, 16, size, size) if large else b""
        self._write(
            LOCAL.pack(b"PK\3\4", version, UTF_8, STORED, *stamp, len(local))
            + name
            + local
        )
        made_by = UNIX << 8 | version
        self._directory.write(
            CENTRAL.pack(
                *(b"PK\1\2", made_by, version, UTF_8, STORED),
                *(*stamp, len(extra), 0, 0, 0),
                *((0o100000 | FILE_MODE) << 16, start),
            )
            + name
            + extra
        )

    def _end(self, size: int) -> None:
        pass

    def finish(self) -> None:
        start, count = self.size, self.count
        self._directory.seek(0)
        while chunk := self._directory.read(CHUNK):
            self._write(chunk)
        length = self.size - start
        if count >= FULL_16 or start >= FULL_32 or length >= FULL_32:
            at = self.size
            self._write(
                END_64.pack(
                    *(b"PK\6\6", END_64.size - 12, UNIX << 8 | VERSION_64, VERSION_64),
                    *(0, 0, count, count, length, start),
                )
                + LOCATOR_64.pack(b"PK\6\7", 0, at, 1)
            )
            count, length, start = FULL_16, FULL_32, FULL_32
        self._write(END.pack(b"PK\5\6", 0, 0, count, count, length, start, 0))


KINDS: dict[str, type[Archive]] = {"zip": ZipArchive, "tar": TarArchive}
