"""The file format of the spool: a header, and entries that can be found again after damage.

A file begins with ``HEADER``. An entry is ``HEAD`` and its payload. ``HEAD`` holds the identity
of the file, the length and CRC of the payload, the number of the entry in its file, and the CRC
of these fields. The identity is a hash of the file's name and stands before every entry. So the
next whole entry can be found behind any damage, and a caller cannot forge an entry by writing
bytes into a payload: callers never learn the name of a file.

In files of format 1 an entry is length, CRC and payload alone, without an identity. Behind
damage in such a file the next entry is found by the JSON that every payload begins with.

The CRC is that of zlib: it tells a torn write from a whole one as well as CRC-32C does.
"""

from __future__ import annotations

import hashlib
import os
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from struct import Struct
from typing import IO

MAGIC_1 = b"istore spool 1\n\n"
MAGIC_2 = b"istore spool 2\n\n"
HEADER = Struct("<16s8sI4x")  # magic, identity, CRC
HEAD = Struct("<8sIIQI")  # identity, length, CRC of the payload, number, CRC of these
HEAD_FIELDS, CRC = Struct("<8sIIQ"), Struct("<I")  # of HEAD
HEAD_1 = Struct("<II")  # length, CRC of the payload
LARGEST = 2**32 - 1  # bytes of a payload: its length is stored in four bytes
# What a payload of format 1 holds behind its two lengths of twelve bytes, and where.
FACTS, FACTS_AT = b'{"model_id":', HEAD_1.size + 12
SEARCHED_BYTES = 2**20  # read at a time
SECTOR = 512  # bytes that a disk writes as one


def identity_of(name: str) -> bytes:
    """Return the eight bytes that stand before each entry of the file of this name."""
    return hashlib.blake2b(
        name.encode(), digest_size=8, person=b"istore spool"
    ).digest()


def header(identity: bytes) -> bytes:
    """Return the header of a file of this identity."""
    said = HEADER.pack(MAGIC_2, identity, 0)
    return HEADER.pack(MAGIC_2, identity, zlib.crc32(said))


def checksum(pieces: Sequence[bytes]) -> int:
    """Return the CRC of the pieces, one after the other."""
    crc = 0
    for piece in pieces:
        crc = zlib.crc32(piece, crc)
    return crc


def head(identity: bytes, length: int, crc: int, number: int) -> bytes:
    """Return the head of an entry with a payload of this length and CRC. Raises ValueError."""
    if not 0 < length <= LARGEST:
        raise ValueError(f"An entry of {length} bytes has no place in a spool.")
    said = HEAD_FIELDS.pack(identity, length, crc, number)
    return said + CRC.pack(zlib.crc32(said))


def frame(identity: bytes, payload: bytes, number: int) -> bytes:
    """Return a whole entry: its head and its payload."""
    return head(identity, len(payload), zlib.crc32(payload), number) + payload


@dataclass(slots=True)
class Gap:
    """A range of bytes in a file that belongs to no whole entry."""

    start: int
    end: int


@dataclass
class Scan:
    """The whole entries of a file from ``start`` up to ``limit``, and the gaps between them.

    Iterating yields each payload with the offset where its entry ends; ``gaps`` is filled
    meanwhile. Whatever was flipped, zeroed, cut out, inserted or moved: an entry whose bytes
    are whole and together is found, and no entry is ever made up. An entry that is in the file
    twice is yielded once.
    """

    file: IO[bytes]
    identity: bytes
    start: int = 0
    limit: int | None = None
    gaps: list[Gap] = field(default_factory=list)

    def __post_init__(self) -> None:
        size = os.fstat(self.file.fileno()).st_size
        self.size = size
        self.end = size if self.limit is None else min(self.limit, size)
        self._identities = [self.identity]
        self._is_old = False
        self._seen: set[int] = set()

    def __iter__(self) -> Iterator[tuple[bytes, int]]:
        place = max(self._read_header(), self.start)
        gap = None if place else 0
        while place < self.end:
            entry = self._entry_at(place)
            if entry is None:
                gap = place if gap is None else gap
                place = self._next_candidate(place + 1)
                continue
            if gap is not None and gap < place:
                self.gaps.append(Gap(gap, place))
            gap = None
            payload, number, place = entry
            if number is None or number not in self._seen:
                if number is not None:
                    self._seen.add(number)
                yield payload, place
        if gap is not None and gap < self.end:
            self.gaps.append(Gap(gap, self.end))

    def _read_header(self) -> int:
        """Return the offset of the first entry; 0 when the header is damaged."""
        self.file.seek(0)
        found = self.file.read(HEADER.size)
        if len(found) == HEADER.size:
            _, identity, _ = HEADER.unpack(found)
            if found == header(identity):
                if identity not in self._identities:  # the file was renamed
                    self._identities.append(identity)
                return HEADER.size
        # Damage in the header of a file of format 2 must not make it one of format 1, in
        # which a payload could forge entries. So format 1 needs that no identity is found.
        if self._find(self.identity, 0) is None:
            self._is_old = True
            return len(MAGIC_1) if found.startswith(MAGIC_1) else 0
        return 0

    def _entry_at(self, place: int) -> tuple[bytes, int | None, int] | None:
        """Return the payload of the entry that begins there, its number, and where it ends."""
        self.file.seek(place)
        if self._is_old:
            return self._old_entry_at(place)
        length, crc, number = self._head_at(place) or (0, 0, 0)
        end = place + HEAD.size + length
        if not length or end > self.end:
            return None
        payload = self.file.read(length)
        if len(payload) < length or zlib.crc32(payload) != crc:
            return None
        return payload, number, end

    def _head_at(self, place: int) -> tuple[int, int, int] | None:
        self.file.seek(place)
        found = self.file.read(HEAD.size)
        if len(found) < HEAD.size:
            return None
        identity, length, crc, number, _ = HEAD.unpack(found)
        if identity not in self._identities or not length:
            return None
        return (
            (length, crc, number)
            if found == head(identity, length, crc, number)
            else None
        )

    def _old_entry_at(self, place: int) -> tuple[bytes, None, int] | None:
        found = self.file.read(HEAD_1.size)
        if len(found) < HEAD_1.size:
            return None
        length, crc = HEAD_1.unpack(found)
        end = place + HEAD_1.size + length
        if not length or end > self.end:
            return None
        payload = self.file.read(length)
        if len(payload) < length or zlib.crc32(payload) != crc:
            return None
        return payload, None, end

    def _next_candidate(self, place: int) -> int:
        """Return where the next entry may begin; the end of the file if nowhere."""
        if self._is_old:
            found = self._find(FACTS, place + FACTS_AT)
            return self.end if found is None else found - FACTS_AT
        places = [self._find(identity, place) for identity in self._identities]
        return min((each for each in places if each is not None), default=self.end)

    def _find(self, wanted: bytes, place: int) -> int | None:
        while place < self.end:
            self.file.seek(place)
            chunk = self.file.read(min(SEARCHED_BYTES, self.end - place))
            at = chunk.find(wanted)
            if at >= 0:
                return place + at
            if len(chunk) < len(wanted):
                return None
            place += len(chunk) - len(wanted) + 1
        return None

    def is_torn(self, gap: Gap) -> bool:
        """Return whether the gap is what an interrupted write leaves.

        Such a gap reaches the end of the file, and is zeros, or less than a head, or a head
        whose payload is not all there.
        """
        if gap.end != self.size:
            return False
        if gap.end < HEADER.size:
            return True
        size = HEAD_1.size if self._is_old else HEAD.size
        if self._is_zero(min(gap.start + size, gap.end), gap.end):
            return True
        if self._is_old:
            self.file.seek(gap.start)
            length, _ = HEAD_1.unpack(self.file.read(HEAD_1.size))
        else:
            length, *_ = self._head_at(gap.start) or (0, 0, 0)
        end = gap.start + size + length
        if not length:
            return False
        return end > self.size or self._is_zero(
            max(gap.start, self.size - SECTOR), gap.end
        )

    def _is_zero(self, start: int, end: int) -> bool:
        self.file.seek(start)
        while start < end:
            chunk = self.file.read(min(SEARCHED_BYTES, end - start))
            if not chunk or chunk.count(0) < len(chunk):
                return False
            start += len(chunk)
        return True
