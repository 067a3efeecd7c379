"""Files that are whole or absent, and durable together with their names.

A new file is durable once it was fsynced, renamed, and its directory fsynced, too.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

ATTEMPTS = 10
LEAST_FREE_BYTES, LEAST_FREE_INODES = 512 * 1024**2, 2000


@contextmanager
def new_file(path: Path, *, with_directory: bool = False) -> Iterator[IO[bytes]]:
    """Yield a file to write to; it is durable under ``path`` when the block has ended.

    After an error in the block, or a crash, there is no such file, or still the one before.
    ``with_directory`` makes the directory if it is missing.
    """
    partial = path.with_name(f".{path.name}.{secrets.token_hex(6)}.partial")
    create = _create_with_directory if with_directory else _create
    try:
        with create(partial) as file:
            yield file
            sync_file(file)
        rename(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def _create(path: Path) -> IO[bytes]:
    return open(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb")


def _create_with_directory(path: Path) -> IO[bytes]:
    # A delete removes the directory that it left empty, perhaps just after it was made here.
    # Once there is a file in it, it stays.
    for _ in range(ATTEMPTS):
        with suppress(FileNotFoundError):
            make_directory(path.parent)
            return _create(path)
    return _create(path)


def write_durably(path: Path, pieces: Iterable[bytes]) -> None:
    """Write a file of these bytes, as ``new_file`` does."""
    with new_file(path) as file:
        file.writelines(pieces)


def make_directory(directory: Path) -> None:
    """Make the directory and its parents; each new one is fsynced in its parent."""
    if directory.is_dir():
        return
    make_directory(directory.parent)
    with suppress(FileExistsError):
        directory.mkdir(mode=0o700)
    sync_directory(directory.parent)


def rename(path: Path, target: Path) -> None:
    """Rename a file whose content is durable, so that its new name is durable as well."""
    os.rename(path, target)
    sync_directory(target.parent)


def sync_file(file: IO[bytes]) -> None:
    """Make what was written to a file durable."""
    file.flush()
    os.fsync(file.fileno())


def sync_directory(directory: Path) -> None:
    """Make the names of the directory's files durable."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def no_room(directory: Path) -> str | None:
    """Return a sentence if the disk has few free bytes or inodes, else None."""
    disk = os.statvfs(directory)
    free = disk.f_bavail * disk.f_frsize
    if free < LEAST_FREE_BYTES:
        return f"Only {free >> 20} MiB are free in {directory}."
    # Some file systems allocate inodes as needed, and report 0.
    if disk.f_files and disk.f_favail < LEAST_FREE_INODES:
        return f"Only {disk.f_favail} inodes are free in {directory}."
    return None
