"""Read the blobs of a batch forward: on an object store, one request for many members of a pack.

The members of a pack that a batch wants are read together in groups of ``GROUP_BYTES``, each
when its first member is asked for. A member is kept until it was read once, and the oldest
groups go when more than ``KEPT_BYTES`` wait. On disk, where a read costs nothing, each member
is read by itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from threading import Lock

from istore.blobs import moves, pack_notes
from istore.blobs.errors import BlobDamaged
from istore.blobs.keys import MemberKey
from istore.blobs.ranges import read_ranges

GROUP_BYTES = 8 * 2**20
KEPT_BYTES = 3 * GROUP_BYTES

Group = list[MemberKey]


class BatchReader:
    """Reads members of packs together. It is safe for threads; ``keys`` are those of a batch."""

    def __init__(self, keys: Iterable[str]) -> None:
        self._groups = _group(keys) if pack_notes.are_kept() else {}
        self._contents: dict[str, bytes] = {}  # that wait to be read, oldest first
        self._kept = 0  # their bytes
        self._released: set[str] = set()
        self._lock = Lock()  # one group at a time bounds the memory

    def take(self, key: str) -> bytes | None:
        """Return a member's bytes, once; None for a blob that is to be read by itself.

        Raises ``FileNotFoundError`` for a member that was released.
        """
        with self._lock:
            if group := self._groups.get(key):
                self._read(group)
            if key in self._released:
                raise FileNotFoundError(f"{key} was released.")
            content = self._contents.pop(key, None)
            self._kept -= len(content or b"")
            return content

    def _read(self, group: Group) -> None:
        for each in group:
            self._groups.pop(str(each), None)
        pack = group[0].pack
        try:
            contents = read_ranges(pack, [(e.offset, e.length) for e in group])
        except FileNotFoundError:
            return  # it was rewritten: each member is looked for where it went
        except BlobDamaged:
            return  # each member is read by itself: the damage may be of one alone
        released = pack_notes.released_in(pack)
        for member, content in zip(group, contents, strict=True):
            key = str(member)
            if member.offset not in released:
                self._contents[key] = content
                self._kept += len(content)
            elif moves.new_key_of(key) is None:
                self._released.add(key)
        while self._kept > KEPT_BYTES:
            self._kept -= len(self._contents.pop(next(iter(self._contents))))


def _group(keys: Iterable[str]) -> dict[str, Group]:
    """Return the group of each key of a member, of one pack and in the order of its offsets."""
    members = {m for m in map(MemberKey.parse, keys) if m is not None}
    groups: dict[str, Group] = {}
    group: Group = []
    size = 0
    for member in sorted(members):
        if not group or member.pack != group[0].pack or size >= GROUP_BYTES:
            group, size = [], 0
        group.append(member)
        size += member.length
        groups[str(member)] = group
    return groups
