"""What a backup has met so far, in a file of SQLite, so that memory stays constant.

The file lies in the home and outlives a run: its hashes of blobs that have not changed since
spare the next run reading them, also after a kill. It may be lost: then every blob is read again.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

AT_ONCE = 500  # below SQLite's least limit of parameters of one statement, 999

Item = TypeVar("Item")

TABLES = """
CREATE TABLE IF NOT EXISTS known (
    key TEXT PRIMARY KEY, size INTEGER, modified REAL, sha256 TEXT) WITHOUT ROWID;
DROP TABLE IF EXISTS named;
CREATE TABLE named (key TEXT PRIMARY KEY, required INTEGER) WITHOUT ROWID;
DROP TABLE IF EXISTS held;
CREATE TABLE held (sha256 TEXT PRIMARY KEY, size INTEGER) WITHOUT ROWID;
DROP TABLE IF EXISTS taken;
CREATE TABLE taken (
    key TEXT PRIMARY KEY, size INTEGER, modified REAL, sha256 TEXT) WITHOUT ROWID;
DROP TABLE IF EXISTS moved;
CREATE TABLE moved (old TEXT PRIMARY KEY, new TEXT) WITHOUT ROWID;
DROP TABLE IF EXISTS needed;
CREATE TABLE needed (sha256 TEXT PRIMARY KEY) WITHOUT ROWID;
"""


class Blob(NamedTuple):
    """One blob of an inventory. ``modified`` is in seconds since 1970."""

    key: str
    size: int
    modified: float
    sha256: str


class Ledger:
    """The tables of one run, beside ``known``, which is kept from run to run."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            self._db = self._open(path)
        except sqlite3.DatabaseError:  # cut off by a full disk, say: it is a cache
            path.unlink()
            self._db = self._open(path)
        path.chmod(0o600)

    @classmethod
    def of_target(cls, directory: Path, where: str) -> Ledger:
        """Return the ledger of a target; other targets have files of their own."""
        name = hashlib.sha256(where.encode()).hexdigest()[:16]
        return cls(directory / f"{name}.sqlite")

    @staticmethod
    def _open(path: Path) -> sqlite3.Connection:
        # Not fsynced: what a crash of the machine loses is read again.
        db = sqlite3.connect(path, isolation_level=None)
        db.executescript(f"PRAGMA synchronous=OFF; {TABLES}")
        return db

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    # -- what rows name

    def add_named(self, keys: Iterable[str], *, required: bool) -> None:
        """Add keys that rows name; a required one stays required."""
        self._many(
            "INSERT INTO named VALUES (?, ?) ON CONFLICT (key) "
            "DO UPDATE SET required = max(required, excluded.required)",
            ((key, int(required)) for key in keys),
        )

    def named_among(self, keys: Sequence[str]) -> set[str]:
        """Return those of at most ``AT_ONCE`` keys that rows name."""
        return {key for (key,) in self._among("SELECT key FROM named", "key", keys)}

    def named_and_not_taken(self) -> Iterator[tuple[str, bool]]:
        """Yield the keys that rows name and that were not taken, and whether they are required."""
        query = (
            "SELECT key, required FROM named "
            "WHERE NOT EXISTS (SELECT 1 FROM taken WHERE taken.key = named.key) AND key > ?"
        )
        for key, required in self._pages(query):
            yield key, bool(required)

    # -- what the target holds

    def add_held(self, objects: Iterable[tuple[str, int]]) -> None:
        """Add objects of the target, by hash and size."""
        self._many("INSERT OR REPLACE INTO held VALUES (?, ?)", objects)

    def holds(self, sha256: str, size: int) -> bool:
        """Return whether the target holds an object of this hash and size."""
        found = self._db.execute("SELECT size FROM held WHERE sha256 = ?", [sha256])
        return bool(found.fetchone() == (size,))

    def known_hashes(self, keys: Sequence[str]) -> dict[str, Blob]:
        """Return what earlier runs read under at most ``AT_ONCE`` keys."""
        rows = self._among("SELECT * FROM known", "key", keys)
        return {row[0]: Blob(*row) for row in rows}

    def has_known(self) -> bool:
        """Return whether any earlier run has left hashes."""
        return self._db.execute("SELECT 1 FROM known LIMIT 1").fetchone() is not None

    def add_known(self, found: Iterable[Blob]) -> None:
        """Add hashes from the inventory of an earlier backup."""
        self._many("INSERT OR IGNORE INTO known VALUES (?, ?, ?, ?)", found)

    # -- the inventory of this run

    def take(self, found: Iterable[Blob]) -> None:
        """Add blobs to the inventory. They are in the target."""
        some = list(found)
        self._many("INSERT OR REPLACE INTO taken VALUES (?, ?, ?, ?)", some)
        self._many("INSERT OR REPLACE INTO known VALUES (?, ?, ?, ?)", some)
        self._many(
            "INSERT OR REPLACE INTO held VALUES (?, ?)",
            ((each.sha256, each.size) for each in some),
        )

    def has_taken(self, key: str) -> bool:
        """Return whether the key is in the inventory."""
        found = self._db.execute("SELECT 1 FROM taken WHERE key = ?", [key])
        return found.fetchone() is not None

    def inventory(self) -> Iterator[Blob]:
        """Yield the inventory in the order of keys."""
        for row in self._pages("SELECT * FROM taken WHERE key > ?"):
            yield Blob(*row)

    def totals(self) -> tuple[int, int]:
        """Return the number of blobs of the inventory, and their bytes."""
        query = "SELECT count(*), coalesce(sum(size), 0) FROM taken"
        count, size = self._db.execute(query).fetchone()
        return count, size

    def forget_old(self) -> None:
        """Forget the hashes of blobs that are no more."""
        self._db.execute("DELETE FROM known WHERE key NOT IN (SELECT key FROM taken)")

    # -- blobs that were moved into another pack meanwhile

    def add_moved(self, moves: Iterable[tuple[str, str]]) -> None:
        """Add moves, old key and new key."""
        self._many("INSERT OR REPLACE INTO moved VALUES (?, ?)", moves)

    def moves(self) -> Iterator[tuple[str, str]]:
        """Yield the moves in the order of the old keys."""
        yield from self._pages("SELECT old, new FROM moved WHERE old > ?", "old")

    def has_moved_from(self, key: str) -> bool:
        """Return whether the object of this key, or a member of it, was moved."""
        found = self._db.execute(
            "SELECT 1 FROM moved WHERE old = ? OR (old >= ? AND old < ?) LIMIT 1",
            [key, f"{key}#", f"{key}$"],  # "$" is the character after "#"
        )
        return found.fetchone() is not None

    # -- objects of the target that some backup needs

    def add_needed(self, hashes: Iterable[str]) -> None:
        """Add hashes that the inventory of a kept backup has."""
        self._many("INSERT OR IGNORE INTO needed VALUES (?)", ((e,) for e in hashes))

    def unneeded(self) -> Iterator[str]:
        """Yield the hashes of objects that no kept backup needs."""
        query = "SELECT sha256 FROM held WHERE sha256 NOT IN needed AND sha256 > ?"
        for (sha256,) in self._pages(query, "sha256"):
            yield sha256

    def _many(self, statement: str, rows: Iterable[Sequence[object]]) -> None:
        for some in batches(rows, 10_000):
            self._db.execute("BEGIN")
            self._db.executemany(statement, some)
            self._db.execute("COMMIT")

    def _among(self, query: str, column: str, keys: Sequence[str]) -> list[Any]:
        marks = ", ".join("?" * len(keys))
        return self._db.execute(f"{query} WHERE {column} IN ({marks})", keys).fetchall()

    def _pages(self, query: str, column: str = "key") -> Iterator[Any]:
        """Yield the rows page by page, so that tables may be written meanwhile."""
        after = ""
        page = f"{query} ORDER BY {column} LIMIT 1000"
        while rows := self._db.execute(page, [after]).fetchall():
            yield from rows
            after = rows[-1][0]


def batches(items: Iterable[Item], size: int = AT_ONCE) -> Iterator[list[Item]]:
    """Yield the items in lists of at most ``size``."""
    rest = iter(items)
    while some := list(islice(rest, size)):
        yield some
