"""Sinks of large objects, such as archives: a file that is renamed last, or a multipart upload.

Under the key there is the whole object or nothing. The collectors find what a killed worker
leaves behind: a partial file or an open upload.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.files.storage import default_storage

from istore.blobs.durable_files import make_directory, rename, sync_file
from istore.blobs.s3_puts import MultipartPut

CHUNK = 1024**2
SYNC_BYTES = 256 * 1024**2


class HashedSink:
    """A sink that counts and hashes its bytes; ``finish`` makes them durable under the key.

    ``on_progress`` is called regularly while it works.
    """

    on_progress: Callable[[], None] = staticmethod(lambda: None)

    def __init__(self, key: str) -> None:
        self.key = key
        self.size = 0
        self._digest = hashlib.sha256()

    @property
    def sha256(self) -> str:
        """The SHA-256 of everything written so far, in hexadecimal digits."""
        return self._digest.hexdigest()

    def write(self, content: bytes) -> None:
        """Write bytes, and report progress."""
        self._digest.update(content)
        self.size += len(content)
        self._write(content)
        self.on_progress()

    def finish(self) -> None:
        """Make the content durable under the key. Raises if it is not what was written."""
        raise NotImplementedError

    def abort(self) -> None:
        """Remove what was written; it does not raise if nothing is there."""
        raise NotImplementedError

    def _write(self, content: bytes) -> None:
        raise NotImplementedError


class FileSink(HashedSink):
    """A sink into a file: temporary name, fsync, rename, fsync of the directory."""

    def __init__(self, key: str, storage: Any) -> None:
        super().__init__(key)
        self.path = Path(storage.path(key))
        self.partial = self.path.with_name(f".{self.path.name}.partial")
        make_directory(self.path.parent)
        self.file = open(self.partial, "wb", opener=_private)  # noqa: SIM115
        self.synced = 0

    def _write(self, content: bytes) -> None:
        self.file.write(content)
        if self.size - self.synced >= SYNC_BYTES:  # keeps the final fsync short
            self.file.flush()
            os.fdatasync(self.file.fileno())
            self.synced = self.size

    def finish(self) -> None:
        sync_file(self.file)
        self.file.close()
        if self._hash_on_disk() != self.sha256:
            raise OSError(f"{self.partial} does not hold what was written to it.")
        rename(self.partial, self.path)

    def _hash_on_disk(self) -> str:
        digest = hashlib.sha256()
        with open(self.partial, "rb") as file:
            while chunk := file.read(CHUNK):
                digest.update(chunk)
                self.on_progress()
        return digest.hexdigest()

    def abort(self) -> None:
        with suppress(OSError):
            self.file.close()
        with suppress(OSError):
            self.partial.unlink()
        with suppress(OSError):
            self.partial.parent.rmdir()


class UploadSink(HashedSink):
    """A sink into a multipart upload.

    The store checks each part by its MD5; the whole is checked by what the store reports of it.
    """

    def __init__(self, key: str, storage: Any) -> None:
        super().__init__(key)
        self.upload: MultipartPut = storage.begin_upload(key)
        self.waiting = bytearray()

    def _write(self, content: bytes) -> None:
        self.waiting += content
        size = settings.ISTORE_MULTIPART_BYTES
        while len(self.waiting) >= size:
            self.upload.send(bytes(self.waiting[:size]))
            del self.waiting[:size]

    def finish(self) -> None:
        self.upload.send(bytes(self.waiting))
        self.upload.complete()

    def abort(self) -> None:
        self.upload.abort()


@contextmanager
def storing(key: str, storage: Any = default_storage) -> Iterator[HashedSink]:
    """Yield a sink; its content is under ``key`` once the block ended without an error."""
    on_disk = not hasattr(storage, "bucket")
    sink = FileSink(key, storage) if on_disk else UploadSink(key, storage)
    try:
        yield sink
        sink.finish()
    except BaseException:
        sink.abort()
        raise


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
