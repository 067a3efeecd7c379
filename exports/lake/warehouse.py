"""Where the files of the lake lie: below ``lake/`` in the blob store, folder or bucket.

Iceberg knows files by absolute locations, the blob store by keys. A location that was written before
the home moved, or before it was restored elsewhere, has another beginning and the same end: it means
the file of that key here. Files are put as blobs are: whole or not at all, fsynced, and with the
encryption of the bucket.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from django.core.files.base import ContentFile, File
from django.core.files.storage import default_storage
from pyiceberg.io import FileIO, InputFile, OutputFile

from istore import blobs
from istore.blobs import LocalStorage, moves

if TYPE_CHECKING:
    from exports.lake.models import LakeTable

ROOT = "lake"  # beside blobs, whose keys begin with a number
# The key of a table's folder or of a file in it, at the end of a location.
KEY_AT_END = re.compile(
    rf"(?:^|/)({ROOT}/[^/]+/[^/]+-\d+(?:/data/[^/]+/[^/]+|/metadata/[^/]+)?)$"
)


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
    """Return the key of the object at a location, also one of before the home moved.

    Raises ``ValueError`` for one that is no place of a table.
    """
    start = f"{base()}/"
    if urlsplit(location).scheme == "file":
        location = f"file://{unquote(urlsplit(location).path)}"
    if location.startswith(start):
        return location.removeprefix(start)
    if found := KEY_AT_END.search(location):
        return found[1]
    raise ValueError(f"{location} is not in the warehouse {start}")


def is_here(location: str) -> bool:
    """Return whether a location begins as those of this warehouse do."""
    return location.startswith(f"{base()}/")


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


def walk_table(row: LakeTable) -> Iterator[blobs.Stored]:
    """Yield every object of a table, also of one that the catalogue does not know."""
    return blobs.walk(f"{folder_of(row)}/")


def folder_of(row: LakeTable) -> str:
    """Return the key below which the files of a table lie."""
    return f"{ROOT}/{row.namespace}/{row.name}-{row.pk}"


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
        # A backup that is being made may need it; ``upkeep`` deletes it when it is done.
        if not moves.BACKUP_LOCK.is_held():
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
