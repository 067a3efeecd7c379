"""Read members of packs, and never bytes of one that was released.

On disk a member may be released while it is read. Its lead becomes zero before its first byte
does, and a reader looks at the lead after the last byte: so what was read is whole, or the read
fails as that of a missing object does. An object store never changes a pack in place; there the
notes of released members are asked.
"""

from __future__ import annotations

from functools import partial
from io import BufferedReader

from istore.blobs import pack_notes
from istore.blobs.keys import MemberKey
from istore.blobs.packs import LEAD, MARKED, read_leads
from istore.blobs.storage import storage


def read(member: MemberKey) -> bytes:
    """Return the bytes of a member, by one read of its range. Raises ``FileNotFoundError``."""
    content = storage.read_range(*member)
    _check(member)
    return content


def open_member(member: MemberKey) -> BufferedReader:
    """Return a member as a seekable file that is read in blocks; this reads the first."""
    _check(member)
    # Where a pack is never changed in place, what is read once is right.
    check = partial(_check, member) if storage.can_release else _nothing
    return storage.open_range(*member, check)


def _nothing() -> None: ...


def _check(member: MemberKey) -> None:
    """Raise ``FileNotFoundError`` if the member was released."""
    if _is_noted(member) if pack_notes.are_kept() else not _lead(member):
        raise FileNotFoundError(f"{member} was released.")


def _is_noted(member: MemberKey) -> bool:
    """Return whether a release of the member is noted, or of the record whose marker it is."""
    released = pack_notes.released_in(member.pack)
    if member.offset in released:
        return True
    # Behind a marker is the content of its record, and behind a content another marker.
    behind = member.offset + member.length + LEAD.size
    return behind in released and _lead(member) == MARKED


def _lead(member: MemberKey) -> int:
    (lead,) = read_leads(member.pack, [member.offset])
    return lead
