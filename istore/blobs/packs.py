"""Packs: the inputs, or the records, of many inferences of one model and hour in one object.

A member is a *marker* and a *content*, as they are: the range of a content in the pack *is* the
content. In ``.records`` the content is the answer; in ``.inputs`` it is the input, and the marker
is empty. Before each of the two stands its *lead*, a number of four bytes. A lead of zero says
that what follows it was released, or that there is no marker. That of a marker is ``MARKED``, and
that of a content the length of its marker plus one, by which the marker is found. Behind the
members are an index and a footer (docs/reference/pack-format.md). The index outlives a member
that is released on disk, so it tells no id, no hash and no type.

A pack is put once and never written to, except that members are released.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass
from struct import Struct
from typing import NamedTuple
from uuid import UUID

from istore.blobs import moves, pack_notes
from istore.blobs.errors import PackDamaged as PackDamaged
from istore.blobs.keys import INPUTS as INPUTS
from istore.blobs.keys import RECORDS as RECORDS
from istore.blobs.keys import MemberKey
from istore.blobs.ranges import read_ranges
from istore.blobs.storage import storage
from istore.uuids import uuid7

VERSION = 1
MAGIC = b"IStorPak"
# All numbers are little-endian.
LEAD = Struct("<I")  # 0: released
MARKED = 2**32 - 1  # the lead of a marker
ENTRY = Struct("<16sQIQ")  # capture, offset of the member, lengths of marker, content
FIELDS = Struct("<QII")  # offset of the index, number of members, version
SEAL = Struct("<I8s")  # CRC-32 of the index and of the fields, magic
FOOTER_BYTES = FIELDS.size + SEAL.size
MEMBERS_MAX = 1000  # of a pack, by those who make one
Notes = Set[tuple[str, int]]  # pack and offset of what is noted as released
TAIL_BYTES = 64 * 1024  # read first: the footer and the index of a thousand members


class Member(NamedTuple):
    """One entry of an index. ``unique`` is the UUID that its capture was given."""

    unique: bytes
    start: int
    marker_length: int
    length: int

    @property
    def marker_offset(self) -> int:
        """Where its marker begins."""
        return self.start + LEAD.size

    @property
    def offset(self) -> int:
        """Where its content begins."""
        return self.marker_offset + self.marker_length + LEAD.size

    @property
    def end(self) -> int:
        """Where its content ends, and the next member begins."""
        return self.offset + self.length

    def content_key(self, pack: str) -> str:
        """Return the storage key of its content."""
        return str(MemberKey(pack, self.offset, self.length))

    def marker_key(self, pack: str) -> str:
        """Return the storage key of its marker."""
        return str(MemberKey(pack, self.marker_offset, self.marker_length))


@dataclass(frozen=True, slots=True)
class Pack:
    """A pack that is not put yet: ``blobs.put(pack.key, pack.body)`` puts it."""

    key: str
    body: bytes
    members: list[Member]


# -- build


def new_key(hour: str, kind: str) -> str:
    """Return a new key of a pack of this kind, below ``<project>/<model>/<yyyy>/…/<hh>``."""
    return f"{hour}/{uuid7()}.{kind}"


def build_inputs(key: str, inputs: Iterable[tuple[bytes, bytes]]) -> Pack:
    """Return the pack of these inputs, each with the UUID of its capture before it."""
    return _build(key, ((unique, b"", content) for unique, content in inputs))


def build_records(key: str, records: Iterable[tuple[bytes, bytes, bytes]]) -> Pack:
    """Return the pack of these records: UUID of the capture, marker, answer."""
    return _build(key, records)


def _build(key: str, members: Iterable[tuple[bytes, bytes, bytes]]) -> Pack:
    pieces: list[bytes] = []
    placed: list[Member] = []
    end = 0
    for unique, marker, content in members:
        member = Member(unique, end, len(marker), len(content))
        placed.append(member)
        pieces += LEAD.pack(MARKED if marker else 0), marker
        pieces += LEAD.pack(len(marker) + 1), content
        end = member.end
    if not placed:
        raise ValueError("A pack has at least one member.")
    index = b"".join(ENTRY.pack(*each) for each in placed)
    fields = FIELDS.pack(end, len(placed), VERSION)
    seal = SEAL.pack(zlib.crc32(index + fields), MAGIC)
    return Pack(key, b"".join((*pieces, index, fields, seal)), placed)


# -- keys


def is_pack(key: str) -> bool:
    """Return whether this is the key, or the name, of a pack."""
    return has_records(key) or has_inputs(key)


def has_records(key: str) -> bool:
    """Return whether this is the key, or the name, of a pack of records."""
    return key.endswith(f".{RECORDS}")


def has_inputs(key: str) -> bool:
    """Return whether this is the key, or the name, of a pack of inputs."""
    return key.endswith(f".{INPUTS}")


def is_member(key: str) -> bool:
    """Return whether the key is that of a member of a pack."""
    return MemberKey.parse(key) is not None


def pack_of(key: str) -> str:
    """Return the key of the pack that a member is in; another key stays as it is."""
    member = MemberKey.parse(key)
    return key if member is None else member.pack


def end_of(key: str) -> int:
    """Return where a member ends in its pack, in bytes."""
    member = _parse(key)
    return member.offset + member.length


def key_behind(marker_key: str, size: int) -> str:
    """Return the key of the answer, of this many bytes, that belongs to a marker."""
    return str(MemberKey(pack_of(marker_key), end_of(marker_key) + LEAD.size, size))


def is_record(marker_key: str, answer_key: str) -> bool:
    """Return whether marker and answer are one member of a pack of records."""
    marker, answer = MemberKey.parse(marker_key), MemberKey.parse(answer_key)
    return (
        marker is not None
        and answer is not None
        and marker.length > 0
        and has_records(marker.pack)
        and answer == MemberKey.parse(key_behind(marker_key, answer.length))
    )


def _parse(key: str) -> MemberKey:
    member = MemberKey.parse(key)
    if member is None:
        raise ValueError(f"{key} is no member of a pack.")
    return member


# -- read


def size_of(count: int, end: int) -> int:
    """Return the size of a pack of so many members, of which the last ends there."""
    return end + count * ENTRY.size + FOOTER_BYTES


def read_index(key: str) -> list[Member]:
    """Return the members of a pack, in their order, by at most two reads.

    Raises ``PackDamaged`` if anything in the index does not add up, and ``FileNotFoundError``.
    """
    tail, size = storage.read_tail(key, TAIL_BYTES)
    if len(tail) < FOOTER_BYTES:
        raise PackDamaged(f"{key}: {size} bytes are no pack.")
    offset, count, version = FIELDS.unpack_from(tail, len(tail) - FOOTER_BYTES)
    crc, magic = SEAL.unpack(tail[-SEAL.size :])
    if magic != MAGIC:
        raise PackDamaged(f"{key}: there is no footer at its end.")
    if version != VERSION:
        raise PackDamaged(f"{key}: version {version} of packs is unknown.")
    if not count or size_of(count, offset) != size:
        raise PackDamaged(f"{key}: its footer tells of another size than {size}.")
    if (missing := size - len(tail) - offset) > 0:
        tail = storage.read_range(key, offset, missing) + tail
    sealed = tail[offset - size : -SEAL.size]
    if zlib.crc32(sealed) != crc:
        raise PackDamaged(f"{key}: the checksum of its index is wrong.")
    members = [Member(*each) for each in ENTRY.iter_unpack(sealed[: -FIELDS.size])]
    end = 0
    for member in members:
        if member.start != end:
            raise PackDamaged(f"{key}: no member begins at {end}.")
        end = member.end
    if end != offset:
        raise PackDamaged(f"{key}: its members do not add up to its size.")
    return members


def capture_of(content_key: str) -> str | None:
    """Return the UUID of the capture that a content is of: an input has that of its record.

    ``content_key`` is that of a member, or of an object of its own, whose folder is named after
    its capture. None if the pack has no such member. Raises ``PackDamaged`` and
    ``FileNotFoundError``.
    """
    if not is_member(content_key):
        return content_key.rsplit("/", 2)[-2]
    pack = pack_of(content_key)
    members = {each.content_key(pack): each for each in read_index(pack)}
    found = members.get(content_key)
    return str(UUID(bytes=found.unique)) if found else None


def live_members(key: str) -> list[Member]:
    """Return the members of a pack without those that are noted as released.

    On an object store releases are noted until the pack is rewritten. On disk the index tells
    of released members still: ask ``unreleased``.
    """
    members = read_index(key)
    released = pack_notes.released_in(key)
    return [each for each in members if each.offset not in released]


def read_records(
    pairs: Sequence[tuple[str, str]], noted: Notes | None = None
) -> dict[str, tuple[bytes, bytes]]:
    """Return marker and answer of records of one pack, by the keys of their markers.

    ``pairs`` are the keys of marker and answer. The records are read together. Those that were
    released, those without a marker, and those of a missing pack are left out. Who reads many
    packs has asked ``pack_notes`` for their releases at once, and gives them. Raises
    ``PackDamaged``.
    """
    if not pairs:
        return {}
    pack = pack_of(pairs[0][0])
    placed = [(_parse(marker), _parse(answer)) for marker, answer in pairs]
    starts = [marker.offset - LEAD.size for marker, _ in placed]
    ends = [answer.offset + answer.length for _, answer in placed]
    offsets = [each.offset for pair in placed for each in pair]
    # The notes of a pack go with it, so they are read before it is.
    noted = pack_notes.released_among([pack]) if noted is None else noted
    try:
        records = read_ranges(
            pack,
            [(start, end - start) for start, end in zip(starts, ends, strict=True)],
        )
        # On disk a lead becomes zero before the first byte does: it is read after the last.
        leads = read_leads(pack, offsets) if storage.can_release else None
    except FileNotFoundError:
        return {}
    if leads is None:
        spans = zip(records, placed, strict=True)
        read = [
            r[at : at + LEAD.size]
            for r, (m, _) in spans
            for at in (0, LEAD.size + m.length)
        ]
        leads = _heeding_notes(pack, offsets, read, noted)
    found = {}
    for number, ((key, _), record) in enumerate(zip(pairs, records, strict=True)):
        of_marker, of_answer = leads[2 * number : 2 * number + 2]
        if not of_marker or not of_answer:
            continue
        length = placed[number][0].length
        if (of_marker, of_answer) != (MARKED, length + 1):
            raise PackDamaged(f"{key}: no marker of this length is there.")
        text = record[LEAD.size : LEAD.size + length]
        found[key] = text, record[2 * LEAD.size + length :]
    return found


def read_leads(pack: str, offsets: Sequence[int]) -> list[int]:
    """Return the lead before each of these offsets; 0 also where a release is noted."""
    if min(offsets) < LEAD.size:
        raise PackDamaged(f"{pack}: no member begins at {min(offsets)}.")
    noted = pack_notes.released_among([pack])
    if noted.issuperset((pack, offset) for offset in offsets):
        return [0] * len(offsets)
    leads = read_ranges(pack, [(offset - LEAD.size, LEAD.size) for offset in offsets])
    return _heeding_notes(pack, offsets, leads, noted)


def _heeding_notes(
    pack: str, offsets: Sequence[int], leads: Sequence[bytes], noted: Notes
) -> list[int]:
    return [
        0 if (pack, offset) in noted else LEAD.unpack(lead)[0]
        for offset, lead in zip(offsets, leads, strict=True)
    ]


def marker_key_of(answer_key: str) -> str | None:
    """Return the key of the marker of an answer; None if the record was released.

    So it is where the pack was rewritten, or made, after an erasure had taken the marker.
    """
    answer = _parse(answer_key)
    lead = _lead_of(answer)
    if not lead:
        moved_to = moves.new_key_of(answer_key)
        return marker_key_of(moved_to) if moved_to else None
    if lead == 1:
        return None
    start = answer.offset - LEAD.size - (lead - 1)
    if start < LEAD.size:
        raise PackDamaged(f"{answer_key}: its marker would begin before the pack.")
    return str(MemberKey(answer.pack, start, lead - 1))


def is_released(content_key: str) -> bool:
    """Return whether a member, given by the key of its content, was released, or its pack is gone.

    On an object store this costs a request unless the release is noted: only the pack itself
    tells that it is there. Who has just read it asks ``unreleased``.
    """
    return not _lead_of(_parse(content_key))


def unreleased_members(pack: str) -> dict[str, Member]:
    """Return the members of a pack that were not released, by the keys of their contents.

    Raises ``PackDamaged`` and ``FileNotFoundError``.
    """
    members = {each.content_key(pack): each for each in read_index(pack)}
    live = unreleased(members)
    return {key: each for key, each in members.items() if key in live}


def unreleased(content_keys: Iterable[str]) -> set[str]:
    """Return those of the members, given by the keys of their contents, that were not released.

    On disk the leads in one pack are read together, and nothing between them. On an object store
    only the notes tell, so no request is made, and a pack that is missing is not noticed.
    """
    by_pack: dict[str, list[MemberKey]] = {}
    for key in content_keys:
        member = _parse(key)
        by_pack.setdefault(member.pack, []).append(member)
    if pack_notes.are_kept():
        noted = pack_notes.released_among(by_pack)
        return {
            str(e)
            for pack, members in by_pack.items()
            for e in members
            if (pack, e.offset) not in noted
        }
    kept: set[str] = set()
    for pack, members in by_pack.items():
        spans = [(each.offset - LEAD.size, LEAD.size) for each in members]
        try:
            leads = read_ranges(pack, spans, gap=0)
        except FileNotFoundError:
            continue
        kept |= {str(e) for e, lead in zip(members, leads, strict=True) if any(lead)}
    return kept


def has_released(pack: Pack) -> bool:
    """Return whether any member of a pack that was just put is released, or the pack is gone."""
    if pack_notes.are_kept():
        return bool(pack_notes.released_in(pack.key))
    try:
        return not all(read_leads(pack.key, [each.offset for each in pack.members]))
    except FileNotFoundError:
        return True


def is_half_released(pack: str, member: Member) -> bool:
    """Return whether a member on disk is released for readers, and bytes of it are left."""
    if not storage.can_release or not is_released(member.content_key(pack)):
        return False
    try:
        (whole,) = read_ranges(pack, [(member.start, member.end - member.start)])
    except FileNotFoundError:
        return False
    return any(whole)


def _lead_of(content: MemberKey) -> int:
    """Return the lead of a content; 0 if it was released, or its pack is gone."""
    try:
        (lead,) = read_leads(content.pack, [content.offset])
    except FileNotFoundError:
        return 0
    return lead
