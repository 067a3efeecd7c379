"""Objects of the default storage: put, get, open, measure, list and delete them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import IO, Any, TypeVar

from django.core.files.base import ContentFile

from istore.blobs import members, moves, packs
from istore.blobs.errors import BlobsLeft
from istore.blobs.keys import PROBES, MemberKey, probe_key
from istore.blobs.releases import release
from istore.blobs.storage import storage
from istore.blobs.stored import Stored

Read = TypeVar("Read")


def put(
    key: str, content: bytes, content_type: str = "application/octet-stream"
) -> None:
    """Store the bytes durably. A second put of the same key is a retry with the same bytes."""
    file = ContentFile(content, name=key)
    file.content_type = content_type  # type: ignore[attr-defined]  # S3's storage reads it
    storage.save(key, file)


def probe() -> None:
    """Put and delete a small blob. Raises whatever a storage raises that accepts no writes."""
    key = probe_key()
    put(key, b"probe")
    left = datetime.now(UTC) - timedelta(hours=1)  # older probes: of killed processes
    delete([key, *(e.key for e in walk(f"{PROBES}/") if e.modified_at < left)])


def get(key: str) -> bytes:
    """Return the whole blob. Raises ``FileNotFoundError`` if there is none."""
    return _wherever_it_is(_get, key)


def _get(key: str) -> bytes:
    if member := MemberKey.parse(key):
        return members.read(member)
    with storage.open(key, "rb") as file:
        return file.read()


def open_blob(key: str) -> IO[bytes]:
    """Return the blob as a seekable file for reading. Raises ``FileNotFoundError``.

    So does reading to the end of a member of a pack that was released meanwhile.
    """
    return _wherever_it_is(open_unmoved, key)


def open_unmoved(key: str) -> IO[bytes]:
    """Return the blob as ``open_blob`` does, unless it was moved: then as if it were missing.

    Whoever opens many keys asks ``moves.new_keys_of`` for all that were missing at once.
    """
    if member := MemberKey.parse(key):
        return members.open_member(member)
    return storage.open(key, "rb")


def _wherever_it_is(read: Callable[[str], Read], key: str) -> Read:
    """Return what is read under the key, or under the one that it was moved to meanwhile."""
    while True:
        try:
            return read(key)
        except FileNotFoundError:
            moved_to = moves.new_key_of(key)
            if moved_to is None:
                raise
            key = moved_to


def size(key: str) -> int:
    """Return the size of the blob in bytes. The key of a member says it by itself."""
    return _wherever_it_is(_size, key)


def _size(key: str) -> int:
    member = MemberKey.parse(key)
    return storage.size(key) if member is None else member.length


def listed_sizes(keys: Iterable[str]) -> dict[str, int]:
    """Return sizes of objects as far as few requests tell; for the others ask ``size``."""
    return storage.listed_sizes(keys)


def exists(key: str) -> bool:
    """Return whether the bytes of the blob are there."""
    if member := MemberKey.parse(key):
        return members.exists(member)
    try:
        storage.size(key)
    except FileNotFoundError:
        return False
    return True


def current_key(key: str) -> str | None:
    """Return the key under which the blob is now; None if it is missing or was released.

    It is another where the blob was moved lately. A release that an object store has only noted
    counts, so this is the question before an old key is believed.
    """
    while packs.is_released(key) if MemberKey.parse(key) else not exists(key):
        moved_to = moves.new_key_of(key)
        if moved_to is None:
            return None
        key = moved_to
    return key


def delete(keys: Iterable[str]) -> None:
    """Delete the blobs, and release members of packs. A missing blob counts as deleted.

    Raises ``BlobsLeft`` with those that are left while all others are gone, and another
    ``OSError`` where the storage does not tell which.
    """
    objects: list[str] = []
    released: list[str] = []
    for key in filter(None, keys):
        (released if MemberKey.parse(key) else objects).append(key)
    left: dict[str, BaseException | str] = {}
    for act, keys_of_kind in ((storage.delete_all, objects), (release, released)):
        try:
            act(keys_of_kind)
        except BlobsLeft as error:
            left |= error.why
    if left:
        raise BlobsLeft(left)


def costs_by_request() -> bool:
    """Return whether each request takes its time and may have a price, as those to a bucket do."""
    return storage.costs_by_request


def trouble() -> str | None:
    """Return why blobs cannot be put or read now, as a sentence, or None.

    A bucket is asked with a short timeout, and at most once every few seconds.
    """
    return storage.trouble()


def old_versions() -> str | None:
    """Return what it means, as a sentence, if deleted blobs may stay as old versions, or None."""
    return storage.old_versions()


def count_old_versions(keys: Iterable[str]) -> int:
    """Return how many of these blobs, which were deleted, an object store has versions of.

    Of a member the pack is meant. Where versions may not be listed, each object counts.
    """
    return storage.count_old_versions({packs.pack_of(key) for key in keys})


def listed(prefix: str) -> tuple[list[str], list[str]]:
    """Return the names of directories and of files directly below a prefix; empty if absent."""
    try:
        return storage.listdir(prefix)
    except FileNotFoundError:
        return [], []


def walk(prefix: str = "") -> Iterator[Stored]:
    """Yield every object below a prefix that ends with a slash, folder by folder.

    Memory is bounded by the depth of the folders, whatever their number of objects. An object
    that is put or deleted meanwhile may or may not be yielded.
    """
    return storage.walk(prefix)


def files_in(prefix: str) -> Iterator[Stored]:
    """Yield the objects directly below a prefix that ends with a slash."""
    return storage.files_in(prefix)


def open_uploads(before: datetime) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Yield the key of each incomplete multipart upload begun before, and what aborts it.

    Local storage has none; it has partial files (``Stored.is_partial``).
    """
    return storage.open_uploads(before)
