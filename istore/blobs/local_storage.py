"""A storage of files in a directory."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from io import BufferedReader
from pathlib import Path
from typing import Any

from django.core.files.base import File
from django.core.files.storage import FileSystemStorage

from istore.blobs.durable_files import new_file, no_room
from istore.blobs.errors import BlobDamaged
from istore.blobs.holes import erase_ranges
from istore.blobs.links import signed_link
from istore.blobs.range_file import RangeFile, read_exactly
from istore.blobs.stored import Stored
from istore.blobs.threads import THREADS, in_threads

FEW = 100  # folders; up to this many are deleted without threads


class LocalStorage(FileSystemStorage):
    """A storage of files that are whole or absent.

    A put writes a temporary name, then fsync, rename, and fsync of the directory.
    """

    costs_by_request = False
    can_release = True
    gap_bytes = 16 * 1024  # between two ranges that are read at once

    def __init__(self, location: str) -> None:
        super().__init__(location=location, file_permissions_mode=0o600)

    def _save(self, name: str, content: File[bytes]) -> str:
        path = Path(self.path(name))
        with new_file(path, with_directory=True) as file:
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
        found = [(self._path(folder), files) for folder, files in folders.items()]
        if len(found) <= FEW:
            _remove_folders(found)
        else:
            in_threads(
                _remove_folders, [found[start::THREADS] for start in range(THREADS)]
            )

    def _path(self, name: str) -> str:
        """Return the path of a file or folder as ``path`` does, but faster.

        A name that might lead outside of the storage still goes through ``path``.
        """
        parts = name.split("/")
        if "" in parts or ".." in parts or os.sep != "/":
            return self.path(name)
        return f"{self.location}/{name}"

    def read_range(self, name: str, offset: int, length: int) -> bytes:
        """Return this range of a file. Raises ``BlobDamaged`` if the file ends before."""
        with self._reading(name) as descriptor:
            return _read(name, descriptor, offset, length)

    def read_spans(self, name: str, spans: Iterable[tuple[int, int]]) -> list[bytes]:
        """Return the bytes of a file between each start and end. Raises ``BlobDamaged``."""
        with self._reading(name) as descriptor:
            return [_read(name, descriptor, start, end - start) for start, end in spans]

    def read_tail(self, name: str, length: int) -> tuple[bytes, int]:
        """Return the last bytes of a file, at most ``length``, and its size."""
        with self._reading(name) as descriptor:
            size = os.fstat(descriptor).st_size
            length = min(length, size)
            return _read(name, descriptor, size - length, length), size

    def open_range(
        self, name: str, offset: int, length: int, check: Callable[[], None]
    ) -> BufferedReader:
        """Return this range of a file as a file; ``check`` is called after each read."""
        descriptor = os.open(self._path(name), os.O_RDONLY)
        read, close = partial(_read, name, descriptor), partial(os.close, descriptor)
        return RangeFile(read, offset, length, check, close).buffered()

    def release(
        self, name: str, leads: Sequence[int], ranges: Sequence[tuple[int, int]]
    ) -> None:
        """Turn the ranges of a file into zeros; a missing file counts as gone.

        Four bytes at each offset of ``leads`` become zeros first.
        """
        with suppress(FileNotFoundError), open(self._path(name), "r+b", 0) as file:
            for lead in leads:
                os.pwrite(file.fileno(), bytes(4), lead)
            erase_ranges(file, ranges)

    @contextmanager
    def _reading(self, name: str) -> Iterator[int]:
        descriptor = os.open(self._path(name), os.O_RDONLY)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def walk(self, prefix: str) -> Iterator[Stored]:
        """Yield every file below a prefix that ends with a slash, folder by folder."""
        yield from _files(Path(self.path(".")) / prefix, prefix)

    def files_in(self, prefix: str) -> Iterator[Stored]:
        """Yield the files directly below a prefix that ends with a slash."""
        yield from _files(Path(self.path(".")) / prefix, prefix, is_deep=False)

    def listed_sizes(self, names: Iterable[str]) -> dict[str, int]:
        """Return nothing: asking for one size after the other costs no more than a listing."""
        return {}

    def open_uploads(self, before: datetime) -> Iterator[tuple[str, Callable[[], Any]]]:
        """Yield nothing: instead of open uploads there are partial files."""
        yield from ()

    def url(self, name: str | None, **options: Any) -> str:
        """Return a signed link to the blob at our own ``/blobs``."""
        return signed_link(name or "")

    def upload_url(self, name: str, seconds: int) -> None:
        """Return None: uploads come to our own ``/uploads``."""

    def old_versions(self) -> None:
        """Return None: a file that is deleted is gone."""

    def count_old_versions(self, names: Iterable[str]) -> int:
        """Return 0: a file that is deleted is gone."""
        return 0

    def delete_replaced(self, name: str) -> int:
        """Return 0: a file that is replaced is gone."""
        return 0

    def trouble(self) -> str | None:
        """Return why files cannot be put here, as a sentence, or None."""
        directory = Path(self.location)
        while not directory.exists():  # it is made at the first put
            directory = directory.parent
        if not os.access(directory, os.W_OK | os.X_OK):
            return f"{directory} cannot be written to."
        return no_room(directory)


def _read(name: str, descriptor: int, offset: int, length: int) -> bytes:
    try:
        return read_exactly(descriptor, offset, length)
    except EOFError as error:
        raise BlobDamaged(f"{name}, at {offset}: {error}") from None


def _remove_folders(folders: list[tuple[str, list[str]]]) -> None:
    """Delete the given files of each folder, and the folder if it is empty then."""
    for directory, files in folders:
        for file in files:
            with suppress(FileNotFoundError):
                os.unlink(f"{directory}/{file}")
        with suppress(OSError):
            os.rmdir(directory)


def _files(directory: Path, prefix: str, *, is_deep: bool = True) -> Iterator[Stored]:
    try:
        found = os.scandir(directory)
    except FileNotFoundError:
        return
    with found:
        for entry in found:
            name = f"{prefix}{entry.name}"
            if entry.is_dir(follow_symlinks=False):
                if is_deep:
                    yield from _files(directory / entry.name, f"{name}/")
                continue
            with suppress(FileNotFoundError):
                seen = entry.stat()
                modified_at = datetime.fromtimestamp(seen.st_mtime, UTC)
                yield Stored(name, seen.st_size, modified_at)
