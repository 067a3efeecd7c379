"""What apps tell backups: which blobs their rows name, and what follows a restore."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from istore.hooks import Hook


@dataclass(frozen=True, slots=True)
class NamedKeys:
    """A query whose only column is the storage keys that rows of an app name.

    It runs in the snapshot of the database dump, and holds no percent sign, as it also runs with
    parameters. A key that is not ``required`` may be absent
    from the blob store, such as that of an upload that has not begun.
    """

    query: str
    required: bool = True


named_keys: Hook[NamedKeys] = Hook()

# Reads the only column of a query, in the snapshot of the dump or as the database is now.
Read = Callable[[str], Iterable[str]]


@dataclass(frozen=True, slots=True)
class FilesOfFiles:
    """Keys that files name, which rows name: those of the tables of the lake.

    ``keys`` reads the rows by the function that it is given, and the files from the blob store.
    Whoever deletes such files spares them while a backup is made. What is gone all the same,
    for an erasure, ends the backup: nothing that was restored from it could read the rest.
    """

    keys: Callable[[Read], Iterable[str]]


files_of_files: Hook[FilesOfFiles] = Hook()

# Points rows at the new keys of blobs that were moved into another pack while the backup was
# made. The function gets some of the moves, old key to new key.
Repoint = Callable[[Mapping[str, str]], object]
repoints: Hook[Repoint] = Hook()

# Carries out one erasure from a list: a JSON object with project, key, type and value. Returns a
# sentence about the result.
Erase = Callable[[Mapping[str, str]], str]
erasures: Hook[Erase] = Hook()
