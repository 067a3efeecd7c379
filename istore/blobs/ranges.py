"""Ranges of one object that are read together where they lie close together."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from istore.blobs.holes import merge_ranges
from istore.blobs.storage import storage


def read_ranges(
    pack_key: str, ranges: Sequence[tuple[int, int]], gap: int | None = None
) -> list[bytes]:
    """Return the bytes of each range (offset, length) of a pack, in the order given.

    Ranges with at most ``gap`` bytes between them are read at once; without it, as it is best
    for the storage. Raises ``FileNotFoundError`` if there is no
    such pack, and ``BlobDamaged`` if it ends before a range.
    """
    reads = list(merge_ranges(ranges, storage.gap_bytes if gap is None else gap))
    contents = storage.read_spans(pack_key, reads)
    starts = [start for start, _ in reads]
    found = []
    for offset, length in ranges:
        number = bisect_right(starts, offset) - 1
        begin = offset - starts[number]
        found.append(contents[number][begin : begin + length])
    return found
