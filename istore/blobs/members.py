"""Read members of packs, and never bytes of one that was released.

On disk a member may be released while it is read. Its lead becomes zero before its first byte
does, and a reader looks at the lead after the last byte: so what was read is whole, or the read
fails as that of a missing object does. An object store never changes a pack in place.
"""

from __future__ import annotations

from functools import partial
from io import BufferedReader

from istore.blobs.keys import INPUTS, MemberKey
from istore.blobs.packs import LEAD
from istore.blobs.storage import storage


def read(member: MemberKey) -> bytes:
    """Return the bytes of a member, by one read of its range. Raises ``FileNotFoundError``."""
    content = storage.read_range(*member)
    _check(member)
    return content


def exists(member: MemberKey) -> bool:
    """Return whether the bytes of a member are there.

    On an object store they are as long as its pack, whether a release is noted or not.
    """
    try:
        if storage.can_release:
            return _is_live(member)
        storage.size(member.pack)
    except FileNotFoundError:
        return False
    return True


def open_member(member: MemberKey) -> BufferedReader:
    """Return a member as a seekable file that is read in blocks; this reads the first."""
    _check(member)
    return storage.open_range(*member, partial(_check, member))


def _check(member: MemberKey) -> None:
    """Raise ``FileNotFoundError`` if the member was released."""
    if storage.can_release and not _is_live(member):
        raise FileNotFoundError(f"{member} was released.")


def _is_live(member: MemberKey) -> bool:
    """Return whether the lead of a content, before it, or of a marker, behind it, stands."""
    end = member.offset + member.length
    if not member.pack.endswith(f".{INPUTS}"):
        (behind,) = LEAD.unpack(storage.read_range(member.pack, end, LEAD.size))
        if behind == member.length + 1:
            return True
    if member.offset < LEAD.size:
        return False
    return any(storage.read_range(member.pack, member.offset - LEAD.size, LEAD.size))
