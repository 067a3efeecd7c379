"""Where the files of the lake lie: below ``lake/`` in the blob store, folder or bucket.

Iceberg knows files by absolute locations, the blob store by keys. Files are put as blobs are: whole
or not at all, fsynced, and with the encryption of the bucket.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any
from urllib.parse import unquote, urlsplit

from django.core.files.base import ContentFile, File
from django.core.files.storage import default_storage
from pyiceberg.io import FileIO, InputFile, OutputFile

from istore import blobs
from istore.blobs import LocalStorage

ROOT = "lake"  # beside blobs, whose keys begin with a number


def base() -> str:
    """Return the location of the blob store: ``file:///…`` or ``s3://bucket/prefix``."""
    storage: Any = default_storage
    if isinstance(storage, LocalStorage):
        return f"file://{Path(storage.path('.')).resolve()}"
    return f"s3://{storage.bucket_name}/{storage.location}".rstrip("/")


def is_folder() -> bool:
    """Return whether the blob store is a folder of this machine."""
    return isinstance(default_storage, LocalStorage)


def location_of(key: str) -> str:
    """Return the location of the object with this key."""
    return f"{base()}/{key}"


def key_of(location: str) -> str:
    """Return the key of the object at a location. Raises ``ValueError`` for one elsewhere."""
    start = f"{base()}/"
    if urlsplit(location).scheme == "file":
        location = f"file://{unquote(urlsplit(location).path)}"
    if not location.startswith(start):
        raise ValueError(f"{location} is not in the warehouse {start}")
    return location.removeprefix(start)


def put(location: str, file: IO[bytes]) -> None:
    """Store the file whole or not at all."""
    key = key_of(location)
    content = File(file, name=key)
    content.content_type = "application/vnd.apache.parquet"  # type: ignore[attr-defined]
    file.seek(0)
    default_storage.save(key, content)


def read(location: str) -> IO[bytes]:
    """Return a file as a seekable one. Raises ``FileNotFoundError``."""
    return blobs.open_blob(key_of(location))


def walk(location: str) -> Iterator[blobs.Stored]:
    """Yield every object below the location of a table."""
    return blobs.walk(f"{key_of(location)}/")


def delete(keys: Iterable[str]) -> list[str]:
    """Delete the objects of these keys, and return the keys. Missing ones count as deleted."""
    gone = list(keys)
    blobs.delete(gone)
    return gone


class BlobFileIO(FileIO):
    """Reads and writes the metadata of tables through the blob store; named in the catalogue."""

    def new_input(self, location: str) -> InputFile:
        return BlobInput(location)

    def new_output(self, location: str) -> OutputFile:
        return BlobOutput(location)

    def delete(self, location: str | InputFile | OutputFile) -> None:
        if not isinstance(location, str):
            location = location.location
        blobs.delete([key_of(location)])


class BlobInput(InputFile):
    def __len__(self) -> int:
        return blobs.size(key_of(self.location))

    def exists(self) -> bool:
        return blobs.exists(key_of(self.location))

    def open(self, seekable: bool = True) -> Any:
        return io.BytesIO(blobs.get(key_of(self.location)))


class BlobOutput(OutputFile):
    def __len__(self) -> int:
        return blobs.size(key_of(self.location))

    def exists(self) -> bool:
        return blobs.exists(key_of(self.location))

    def to_input_file(self) -> InputFile:
        return BlobInput(self.location)

    def create(self, overwrite: bool = False) -> Any:
        if not overwrite and self.exists():
            raise FileExistsError(self.location)
        return _Content(key_of(self.location))


class _Content(io.BytesIO):
    """What is written to an object, which is stored when it is closed."""

    def __init__(self, key: str) -> None:
        super().__init__()
        self.key = key

    def close(self) -> None:
        if not self.closed:
            default_storage.save(self.key, ContentFile(self.getvalue(), name=self.key))
        super().close()

    def __exit__(self, kind: Any, *rest: Any) -> None:
        if kind is None:
            self.close()
        else:  # half of it is not stored
            super().close()
