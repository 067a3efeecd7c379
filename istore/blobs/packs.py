"""Packs: many inputs, or many records, of one model and hour in one object.

Members lie back to back as they are, so that a range of the pack *is* the content. Behind them
are an index and a footer, which docs/reference/pack-format.md describes. A pack is put once, by
``blobs.put(writer.key, writer.finish())``, and never written to; ``blobs.release`` turns members
into zeros and leaves the index, which tells of them still.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterable
from struct import Struct
from typing import NamedTuple

from istore.blobs.errors import PackDamaged
from istore.blobs.keys import MemberKey
from istore.blobs.storage import storage

VERSION = 1
MAGIC = b"IStorPak"
# All numbers are little-endian.
ENTRY = Struct("<QQ32sIIII")  # offset, length, SHA-256; lengths: id, kind, type, event
FIELDS = Struct("<QQII")  # offset and length of the index, number of members, version
SEAL = Struct("<I8s")  # CRC-32 of the index and of the fields, magic
FOOTER_BYTES = FIELDS.size + SEAL.size
TAIL_BYTES = 64 * 1024  # read first: footer and, of a small pack, the whole index


class NewMember(NamedTuple):
    """What becomes a member; ``sha256`` saves hashing the content again."""

    id: str
    kind: str
    content: bytes
    content_type: str = "application/octet-stream"
    event: bytes = b""
    sha256: bytes = b""


class Member(NamedTuple):
    """One entry of an index. ``event`` is JSON in ``.records``, and empty in ``.inputs``."""

    id: str
    kind: str
    offset: int
    length: int
    sha256: bytes
    content_type: str
    event: bytes

    def key(self, pack_key: str) -> str:
        """Return the storage key of this member."""
        return str(MemberKey(pack_key, self.offset, self.length))

    def holds(self, content: bytes) -> bool:
        """Return whether the content is what was put; that of a released member is not."""
        return hashlib.sha256(content).digest() == self.sha256


class PackWriter:
    """Builds a pack in memory, a member at a time."""

    def __init__(self, key: str) -> None:
        self.key = key
        self.size = 0  # of the members so far, in bytes
        self.members: list[Member] = []
        self._contents: list[bytes] = []

    def next_key(self, length: int) -> str:
        """Return the key of the next member, if it has this many bytes.

        A marker's event names the marker itself, so the key is needed before it is added.
        """
        return str(MemberKey(self.key, self.size, length))

    def add(self, new: NewMember) -> str:
        """Append a member, and return its storage key. Raises ``ValueError``."""
        digest = new.sha256 or hashlib.sha256(new.content).digest()
        if len(digest) != hashlib.sha256().digest_size:
            raise ValueError(f"A SHA-256 has 32 bytes, not {len(digest)}.")
        member = Member(
            new.id,
            new.kind,
            self.size,
            len(new.content),
            digest,
            new.content_type,
            new.event,
        )
        self.members.append(member)
        self._contents.append(new.content)
        self.size += member.length
        return member.key(self.key)

    def finish(self) -> bytes:
        """Return the pack. Raises ``ValueError`` if it has no members."""
        if not self.members:
            raise ValueError("A pack has at least one member.")
        index = _index_of(self.members)
        fields = FIELDS.pack(self.size, len(index), len(self.members), VERSION)
        seal = SEAL.pack(zlib.crc32(index + fields), MAGIC)
        return b"".join((*self._contents, index, fields, seal))


def build_pack(key: str, members: Iterable[NewMember]) -> tuple[bytes, list[str]]:
    """Return a pack of these members, and their storage keys in the same order."""
    writer = PackWriter(key)
    keys = [writer.add(member) for member in members]
    return writer.finish(), keys


def read_index(key: str) -> list[Member]:
    """Return the members of a pack, in their order, by at most two reads.

    The index is checked, not the content of members: see ``Member.holds``. Raises
    ``PackDamaged`` if anything in it does not add up, ``BlobDamaged`` if an object store sends
    something else than was asked for or holds no byte, and ``FileNotFoundError``.
    """
    tail, size = storage.read_tail(key, TAIL_BYTES)
    footer = _read_footer(key, tail, size)
    missing = size - len(tail) - footer.offset
    if missing > 0:
        tail = storage.read_range(key, footer.offset, missing) + tail
    sealed = tail[-footer.length - FOOTER_BYTES : -SEAL.size]
    if zlib.crc32(sealed) != footer.crc:
        raise PackDamaged(f"{key}: the checksum of its index is wrong.")
    return _read_members(key, sealed[: footer.length], footer)


class _Footer(NamedTuple):
    offset: int
    length: int
    members: int
    version: int
    crc: int


def _read_footer(key: str, tail: bytes, size: int) -> _Footer:
    if len(tail) < FOOTER_BYTES:
        raise PackDamaged(f"{key}: {size} bytes are no pack.")
    crc, magic = SEAL.unpack(tail[-SEAL.size :])
    if magic != MAGIC:
        raise PackDamaged(f"{key}: there is no footer at its end.")
    offset, length, members, version = FIELDS.unpack_from(
        tail, len(tail) - FOOTER_BYTES
    )
    footer = _Footer(offset, length, members, version, crc)
    if footer.version != VERSION:
        raise PackDamaged(f"{key}: version {footer.version} of packs is unknown.")
    if footer.offset + footer.length + FOOTER_BYTES != size:
        raise PackDamaged(f"{key}: its footer tells of another size than {size}.")
    return footer


def _index_of(members: Iterable[Member]) -> bytes:
    """Return the index: an entry of fixed size for each member, then all of their texts."""
    entries: list[bytes] = []
    texts: list[bytes] = []
    for member in members:
        own = (member.id.encode(), member.kind.encode(), member.content_type.encode())
        lengths = map(len, (*own, member.event))
        entries.append(
            ENTRY.pack(member.offset, member.length, member.sha256, *lengths)
        )
        texts += (*own, member.event)
    return b"".join((*entries, *texts))


def _read_members(key: str, index: bytes, footer: _Footer) -> list[Member]:
    entries = index[: footer.members * ENTRY.size]
    if not footer.members or len(entries) < footer.members * ENTRY.size:
        raise PackDamaged(f"{key}: its index has no room for {footer.members} members.")
    members, end, text = [], 0, len(entries)
    try:
        for offset, length, sha256, *lengths in ENTRY.iter_unpack(entries):
            if offset != end:
                raise PackDamaged(f"{key}: no member begins at {end}.")
            end += length
            own = []
            for count in lengths:
                own.append(index[text : text + count])
                text += count
            identity, kind, content_type, event = own
            members.append(
                Member(
                    identity.decode(),
                    kind.decode(),
                    offset,
                    length,
                    sha256,
                    content_type.decode(),
                    event,
                )
            )
    except UnicodeDecodeError:
        raise PackDamaged(f"{key}: its index holds no UTF-8.") from None
    if end != footer.offset or text != len(index):
        raise PackDamaged(f"{key}: its members do not add up to its size.")
    return members
