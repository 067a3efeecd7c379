"""The folder or bucket that holds backups, as a blob storage of its own."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import IO, Any, cast
from urllib.parse import urlsplit

from django.conf import settings
from django.core.files.base import File

from istore.blobs.local_storage import LocalStorage
from istore.blobs.sinks import HashedSink, storing
from istore.blobs.storage import BlobStorage
from istore.errors import BadInput

CHUNK = 8 * 1024**2  # of one read; most packs are one
IN_MEMORY = 16 * 1024**2  # a larger object goes through a temporary file
S3 = "s3://"


def open_target(where: str) -> BlobStorage:
    """Return the storage at an absolute path or ``s3://bucket/prefix``. Raises ``BadInput``."""
    if where.startswith(S3):
        return _open_bucket(where)
    path = Path(where).expanduser()
    if not where or not path.is_absolute():
        raise BadInput(
            "backup-target", f"{where!r} is neither an absolute path nor s3://bucket."
        )
    home = settings.ISTORE_HOME.root
    if path.resolve().is_relative_to(home.resolve()):
        raise BadInput(
            "backup-target", f"{path} lies in {home}: a backup there goes with it."
        )
    return cast(BlobStorage, LocalStorage(str(path)))


def _open_bucket(where: str) -> BlobStorage:
    from istore.blobs.s3_storage import S3Storage

    parts = urlsplit(where)
    prefix = parts.path.strip("/")
    if not parts.netloc or parts.query or parts.fragment:
        raise BadInput("backup-target", f"{where!r} is not s3://bucket/prefix.")
    options = dict(cast(dict[str, Any], settings.ISTORE_BACKUP_S3))
    options |= {"bucket_name": parts.netloc, "location": prefix}
    bucket = S3Storage(**options)
    if reason := bucket.trouble():
        raise BadInput("backup-target", reason)
    return cast(BlobStorage, bucket)


def read_chunks(storage: BlobStorage, name: str, size: int) -> Iterator[bytes]:
    """Yield the content of an object in chunks. Raises ``FileNotFoundError``, ``BlobDamaged``."""
    for offset in range(0, size, CHUNK):
        yield storage.read_range(name, offset, min(CHUNK, size - offset))
    if not size:
        storage.size(name)  # which raises where there is none


def read_small(storage: BlobStorage, name: str) -> bytes:
    """Return a small object whole. Raises ``FileNotFoundError``."""
    return b"".join(read_chunks(storage, name, storage.size(name)))


@contextmanager
def spooled(chunks: Iterable[bytes]) -> Iterator[tuple[IO[bytes], str, int]]:
    """Yield the chunks as a file, with their SHA-256 in hexadecimal digits and their size."""
    digest, size = hashlib.sha256(), 0
    with SpooledTemporaryFile(max_size=IN_MEMORY) as file:
        for chunk in chunks:
            digest.update(chunk)
            size += len(chunk)
            file.write(chunk)
        file.seek(0)
        yield cast(IO[bytes], file), digest.hexdigest(), size


def put(storage: BlobStorage, name: str, content: IO[bytes], size: int) -> None:
    """Store a file durably under the name; what was there is replaced."""
    file: File[bytes] = File(content, name=name)
    file.size = size
    storage.save(name, file)


def write_stream(
    storage: BlobStorage, name: str, chunks: Iterable[bytes]
) -> HashedSink:
    """Store a stream of any length durably; return the sink, which has its size and hash."""
    with storing(name, storage) as sink:
        for chunk in chunks:
            sink.write(chunk)
    return sink
