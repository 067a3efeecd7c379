"""Members of packs: ranges of an object that are read and released one by one.

A member's key is the key of its pack and a range, so no index is read to find its content.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence

from istore.blobs.holes import is_zero, joined
from istore.blobs.keys import MemberKey
from istore.blobs.storage import storage

LOOK_BYTES = 4096  # content is rarely all zeros at its beginning


def read_ranges(pack_key: str, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
    """Return the bytes of each range (offset, length) of a pack, in the order given.

    Ranges that lie close together are read at once. Raises ``FileNotFoundError`` if there is no
    such pack, and ``BlobDamaged`` if it ends before a range.
    """
    reads = list(joined(ranges, storage.gap_bytes))
    contents = [
        storage.read_range(pack_key, start, end - start) for start, end in reads
    ]
    starts = [start for start, _ in reads]
    found = []
    for offset, length in ranges:
        number = bisect_right(starts, offset) - 1
        begin = offset - starts[number]
        found.append(contents[number][begin : begin + length])
    return found


def release(keys: Iterable[str]) -> None:
    """Take back the bytes of these members of packs, durably, before this returns.

    On disk they become zeros, and their blocks are given back where the file system can. The
    rest of the pack stays as it is. A missing pack counts as gone, so this may be repeated.

    **A released member still reads**, as zeros of its length: whoever relies on content compares
    its hash, or asks ``is_released``.

    Raises ``ValueError`` for a key of no member, and ``NotImplementedError`` on an object store,
    where a pack is rewritten instead.
    """
    packs: dict[str, list[tuple[int, int]]] = {}
    for key in keys:
        member = MemberKey.parse(key)
        if member is None:
            raise ValueError(f"{key} is no member of a pack.")
        packs.setdefault(member.pack, []).append((member.offset, member.length))
    for pack, ranges in packs.items():
        storage.release(pack, ranges)


def is_released(key: str) -> bool:
    """Return whether all bytes of this member are zeros; False for a member of no bytes.

    Content that is nothing but zeros cannot be told from a released member. Of other content
    only the beginning is read. Raises ``FileNotFoundError`` if there is no such pack.
    """
    member = MemberKey.parse(key)
    if member is None or not member.length:
        return False
    length = min(LOOK_BYTES, member.length)
    if not is_zero(storage.read_range(member.pack, member.offset, length)):
        return False
    rest = member.offset + length, member.length - length
    return is_zero(storage.read_range(member.pack, *rest))
