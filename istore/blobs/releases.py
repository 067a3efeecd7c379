"""Release members of packs: their bytes are taken back, and a pack goes with its last member.

A member is named by the key of its content; a record then goes whole, with its marker. The key
of a marker releases the marker alone. On disk the bytes become zeros, durably, before this
returns, and their blocks are given back where the file system can. On an object store the
release is noted (``pack_notes.py``), and the pack is rewritten later.
"""

from __future__ import annotations

from collections.abc import Iterable

from istore.blobs import pack_notes
from istore.blobs.keys import MemberKey
from istore.blobs.packs import LEAD, Member, read_index
from istore.blobs.storage import storage
from istore.failpoints import failpoint

INDEX_BYTES = 40  # of a member in the index, and a little more
ALLOWANCE_BYTES = 3 * 4096  # blocks at the ends of the index and the footer


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
    whole = {each.offset for each in released} & by_content.keys()
    if len(whole) < len(members):
        # A member is dead for readers with its lead, before its first byte goes.
        leads = [offset - LEAD.size for offset in whole]
        ranges = [_range_of(each, by_content) for each in released]
        allocated = storage.release(pack, leads, ranges)
        failpoint("packs.released")
        # Blocks are given back, so a pack without members takes hardly more than its index.
        # Only then are the others looked at.
        if allocated > ALLOWANCE_BYTES + INDEX_BYTES * len(members):
            return
        if any(_is_live(pack, each) for each in members if each.offset not in whole):
            return
    # No member is ever added to a pack, so it cannot become needed again.
    storage.delete_all([pack])


def _range_of(key: MemberKey, by_content: dict[int, Member]) -> tuple[int, int]:
    member = by_content.get(key.offset)
    if member is None:  # a marker alone
        return key.offset, key.length
    return member.start, member.end - member.start


def _is_live(pack: str, member: Member) -> bool:
    lead_at = member.offset - LEAD.size
    try:
        return any(storage.read_range(pack, lead_at, LEAD.size))
    except FileNotFoundError:
        return False
