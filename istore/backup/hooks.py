"""What apps tell backups: which blobs their rows name, and what follows a restore."""

from __future__ import annotations

from collections.abc import Callable, Mapping
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

# Points rows at the new keys of blobs that were moved into another pack while the backup was
# made. The function gets some of the moves, old key to new key.
Repoint = Callable[[Mapping[str, str]], object]
repoints: Hook[Repoint] = Hook()

# Carries out one erasure from a list: a JSON object with project, key, type and value. Returns a
# sentence about the result.
Erase = Callable[[Mapping[str, str]], str]
erasures: Hook[Erase] = Hook()
