"""Read members of packs, and never bytes of one that was released on disk.

There a member may be released while it is read. Its lead becomes zero before its first byte does,
and a reader looks at the lead after the last byte: so what was read is whole, or the read fails
as that of a missing object does. An object store never changes a pack in place: what was
released there can be read by its key until its pack is rewritten. Whoever opens a key that no row
named just before asks ``packs.is_released``.
"""

from __future__ import annotations

from functools import partial
from io import BufferedReader

from istore.blobs.keys import MemberKey
from istore.blobs.packs import read_leads
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
            _check(member)
        else:
            storage.size(member.pack)
    except FileNotFoundError:
        return False
    return True


def open_member(member: MemberKey) -> BufferedReader:
    """Return a member as a seekable file that is read in blocks; this reads the first."""
    _check(member)
    return storage.open_range(*member, partial(_check, member))


def _check(member: MemberKey) -> None:
    """Raise ``FileNotFoundError`` if the member was released on disk."""
    if storage.can_release and read_leads(member.pack, [member.offset]) == [0]:
        raise FileNotFoundError(f"{member} was released.")
