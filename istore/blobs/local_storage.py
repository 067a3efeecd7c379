"""A storage of files in a directory."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from django.core.files.base import File
from django.core.files.storage import FileSystemStorage

from istore.blobs.durable_files import make_directory, new_file, no_room
from istore.blobs.errors import BlobDamaged
from istore.blobs.links import signed_link
from istore.blobs.stored import Stored
from istore.blobs.threads import THREADS, in_threads

FEW = 100  # folders; up to this many are deleted without threads


class LocalStorage(FileSystemStorage):
    """A storage of files that are whole or absent.

    A put writes a temporary name, then fsync, rename, and fsync of the directory.
    """

    def __init__(self, location: str) -> None:
        super().__init__(location=location, file_permissions_mode=0o600)

    def _save(self, name: str, content: File[bytes]) -> str:
        path = Path(self.path(name))
        make_directory(path.parent)
        with new_file(path) as file:
            size = 0
            for chunk in content.chunks():
                size += len(chunk)
                file.write(chunk)
            file.flush()
            if (found := os.fstat(file.fileno()).st_size) != size:
                raise BlobDamaged(f"{name}: {found} of {size} bytes are there.")
        return name

    def get_available_name(self, name: str, max_length: int | None = None) -> str:
        return name  # keys are ours and unique; a repeated put writes the same bytes

    def delete(self, name: str) -> None:
        """Delete the file, and the directory of its inference if it is empty then."""
        self.delete_all([name])

    def delete_all(self, names: Iterable[str]) -> None:
        """Delete the files, in threads when there are many. Each directory is tried once."""
        folders: dict[str, list[str]] = {}
        for name in names:
            folder, _, file = name.rpartition("/")
            folders.setdefault(folder, []).append(file)
        found = [(self._place(folder), files) for folder, files in folders.items()]
        if len(found) <= FEW:
            _remove_folders(found)
        else:
            in_threads(
                _remove_folders, [found[start::THREADS] for start in range(THREADS)]
            )

    def _place(self, folder: str) -> str:
        """Return the path of a folder as ``path`` does, but faster.

        A name that might lead outside of the storage still goes through ``path``.
        """
        parts = folder.split("/")
        if "" in parts or ".." in parts or os.sep != "/":
            return self.path(folder)
        return f"{self.location}/{folder}"

    def walk(self, prefix: str) -> Iterator[Stored]:
        """Yield every file below a prefix that ends with a slash, folder by folder."""
        yield from _files(Path(self.path(".")) / prefix, prefix)

    def open_uploads(self, before: datetime) -> Iterator[tuple[str, Callable[[], Any]]]:
        """Yield nothing: instead of open uploads there are partial files."""
        yield from ()

    def url(self, name: str | None, **options: Any) -> str:
        """Return a signed link to the blob at our own ``/blobs``."""
        return signed_link(name or "")

    def trouble(self) -> str | None:
        """Return why files cannot be put here, as a sentence, or None."""
        directory = Path(self.location)
        while not directory.exists():  # it is made at the first put
            directory = directory.parent
        if not os.access(directory, os.W_OK | os.X_OK):
            return f"{directory} cannot be written to."
        return no_room(directory)


def _remove_folders(folders: list[tuple[str, list[str]]]) -> None:
    """Delete the given files of each folder, and the folder if it is empty then."""
    for directory, files in folders:
        for file in files:
            with suppress(FileNotFoundError):
                os.unlink(f"{directory}/{file}")
        with suppress(OSError):
            os.rmdir(directory)


def _files(directory: Path, prefix: str) -> Iterator[Stored]:
    try:
        found = os.scandir(directory)
    except FileNotFoundError:
        return
    with found:
        for entry in found:
            name = f"{prefix}{entry.name}"
            if entry.is_dir(follow_symlinks=False):
                yield from _files(directory / entry.name, f"{name}/")
                continue
            with suppress(FileNotFoundError):
                seen = entry.stat()
                modified_at = datetime.fromtimestamp(seen.st_mtime, UTC)
                yield Stored(name, seen.st_size, modified_at)
