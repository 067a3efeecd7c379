"""Release members of packs: their bytes are taken back, and a pack goes with its last member.

A member is named by the key of its content; a record then goes whole, with its marker. The key
of a marker releases the marker alone. On disk the bytes become zeros, durably, before this
returns, and their blocks are given back where the file system can. On an object store the
release is noted (``pack_notes.py``), and the pack is rewritten later.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

from istore.blobs import pack_notes
from istore.blobs.keys import MemberKey
from istore.blobs.packs import LEAD, Member, read_index, read_leads
from istore.blobs.storage import storage
from istore.failpoints import failpoint


def release(keys: Iterable[str]) -> None:
    """Release the members of these keys. One that is released, or whose pack is gone, stays so.

    Raises ``ValueError`` for a key of no member, and ``OSError`` if bytes may be left.
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
    for pack, members in packs.items():
        _release_in(pack, members)


def _release_in(pack: str, released: list[MemberKey]) -> None:
    """Turn the members of one pack on disk into zeros, and delete it if nothing else is left."""
    try:
        members = read_index(pack)
    except FileNotFoundError:
        return
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
            return
    # No member is ever added to a pack, so it cannot become needed again.
    storage.delete_all([pack])


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
