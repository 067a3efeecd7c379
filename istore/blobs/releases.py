"""Release members of packs: their bytes are taken back, and a pack goes with its last member.

A member is named by the key of its content; a record then goes whole, with its marker. The key
of a marker releases the marker alone. On disk the bytes become zeros, durably, before this
returns, and their blocks are given back where the file system can. On an object store the
release is noted (``pack_notes.py``), and the pack is rewritten later.

Where the index of a pack on disk cannot be read, its members are released all the same: a key
tells the range of a content, and the lead before it where the marker is. Such a pack is never
deleted, because nothing tells whether a member of it is live.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from itertools import islice

from istore.blobs import pack_notes
from istore.blobs.errors import BlobDamaged, BlobsLeft
from istore.blobs.keys import MemberKey
from istore.blobs.packs import (
    LEAD,
    MARKED,
    Member,
    has_inputs,
    read_index,
    read_leads,
)
from istore.blobs.ranges import read_ranges
from istore.blobs.storage import storage
from istore.failpoints import failpoint

logger = logging.getLogger(__name__)


def release(keys: Iterable[str]) -> None:
    """Release the members of these keys. One that is released, or whose pack is gone, stays so.

    Raises ``ValueError`` for a key of no member, and ``BlobsLeft`` if bytes may be left: of the
    keys that it names, after all others were released.
    """
    packs: dict[str, list[MemberKey]] = {}
    for key in keys:
        member = MemberKey.parse(key)
        if member is None:
            raise ValueError(f"{key} is no member of a pack.")
        packs.setdefault(member.pack, []).append(member)
    if pack_notes.are_kept():
        pack_notes.note(each for members in packs.values() for each in members)
        return
    left: dict[str, BaseException] = {}
    for pack, members in packs.items():
        try:
            left |= _release_in(pack, members)
        except OSError as error:
            left |= dict.fromkeys(map(str, members), error)
    if left:
        raise BlobsLeft(left)


def _release_in(pack: str, released: list[MemberKey]) -> dict[str, BaseException]:
    """Turn the members of one pack on disk into zeros, and delete it if nothing else is left.

    Returns the keys of members of which bytes may be left, and why.
    """
    try:
        members = read_index(pack)
    except FileNotFoundError:
        return {}
    except OSError as damage:
        logger.error("Members are released without the index of their pack: %s", damage)
        return _release_without_index(pack, released)
    by_content = {each.offset: each for each in members}
    by_marker = {each.marker_offset: each for each in members}
    whole = {each.offset for each in released} & by_content.keys()
    left = [each for each in members if each.offset not in whole]
    if left:
        # A member is dead for readers with its leads, before its first byte goes.
        leads: list[int] = []
        ranges: list[tuple[int, int]] = []
        for key in released:
            if member := by_content.get(key.offset):
                leads += member.start, member.offset - LEAD.size
                ranges.append((member.start, member.end - member.start))
            elif member := by_marker.get(key.offset):
                leads.append(member.start)
                ranges.append((member.marker_offset, member.marker_length))
        storage.release(pack, leads, ranges)
        failpoint("packs.released")
        if _has_live(pack, left):
            return {}
    # No member is ever added to a pack, so it cannot become needed again.
    storage.delete_all([pack])
    return {}


def _release_without_index(
    pack: str, released: list[MemberKey]
) -> dict[str, BaseException]:
    """Turn the members of these keys into zeros, as far as their leads tell where they are."""
    leads: list[int] = []
    ranges: list[tuple[int, int]] = []
    left: dict[str, BaseException] = {}
    for key in released:
        try:
            start = _start_of(key)
        except FileNotFoundError:
            return {}
        except OSError as error:
            left[str(key)] = error
            continue
        if start is not None:
            leads += start, key.offset - LEAD.size
            ranges.append((start, key.offset + key.length - start))
    storage.release(pack, leads, ranges)
    failpoint("packs.released")
    return left


def _start_of(key: MemberKey) -> int | None:
    """Return where what a key releases begins, by the leads alone; None if it is not there.

    Raises ``BlobDamaged`` if the leads do not add up.
    """
    try:
        (lead,) = read_leads(key.pack, [key.offset])
    except BlobDamaged:
        if has_inputs(key.pack):  # the pack ends before: nothing of an input is there
            return None
        raise
    start = key.offset - LEAD.size
    if lead == MARKED:
        return start
    # A release that was killed may have left bytes behind a lead of zero; a marker directly
    # before it has lost its length, so it must be zeros.
    start -= LEAD.size + max(0, lead - 1)
    if start >= 0:
        (before,) = read_ranges(key.pack, [(start, LEAD.size)])
        if before in (LEAD.pack(0), LEAD.pack(MARKED) if lead > 1 else b""):
            return start
    raise BlobDamaged(f"{key}: the leads before it do not add up.")


def _has_live(pack: str, members: list[Member]) -> bool:
    """Return whether one of the members is live, looking from both ends towards the middle.

    Members go by age, or anywhere; so hardly ever more than a few are looked at.
    """
    both = zip(reversed(members), members, strict=True)
    inwards = (each for pair in both for each in pair)
    try:
        return any(
            any(read_leads(pack, [each.offset]))
            for each in islice(inwards, len(members))
        )
    except FileNotFoundError:
        return False
