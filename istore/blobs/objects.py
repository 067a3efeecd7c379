"""Objects of the default storage: put, get, open, measure, list and delete them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import IO, Any

from django.core.files.base import ContentFile

from istore.blobs.keys import PROBES, probe_key
from istore.blobs.storage import storage
from istore.blobs.stored import Stored


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
    with open_blob(key) as file:
        return file.read()


def open_blob(key: str) -> IO[bytes]:
    """Return the blob as a seekable file for reading. Raises ``FileNotFoundError``."""
    return storage.open(key, "rb")


def size(key: str) -> int:
    """Return the size of the blob in bytes."""
    return storage.size(key)


def delete(keys: Iterable[str]) -> None:
    """Delete the blobs. A missing blob counts as deleted. Raises ``OSError`` if one is left."""
    storage.delete_all([key for key in keys if key])


def trouble() -> str | None:
    """Return why blobs cannot be put or read now, as a sentence, or None.

    A bucket is asked with a short timeout, and at most once every few seconds.
    """
    return storage.trouble()


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


def open_uploads(before: datetime) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Yield the key of each incomplete multipart upload begun before, and what aborts it.

    Local storage has none; it has partial files (``Stored.is_partial``).
    """
    return storage.open_uploads(before)
