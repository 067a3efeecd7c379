"""Make a backup: dump, blobs, inventory, and the manifest last.

The order of steps keeps the promise that a backup is whole or none:

1. take the lock, so that one backup is made at a time and notes of moved blobs are kept;
2. dump the database, and read the keys that its rows name, in one snapshot;
3. copy the blobs that the target does not have. What is removed meanwhile is gone: it is noted,
   and never fetched back. What was moved into another pack is followed. A table of the lake must
   have each of its files, or there is no backup;
4. write the inventory, the moves and the secrets;
5. write the manifest, with the hash of each of these files;
6. remove the oldest backups beyond ``keep``, folders without a manifest, and objects that no
   backup is left to need.

A kill at any step leaves a folder without a manifest. The next run takes over the objects that
are in the target, and the ledger spares reading again what was copied.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from io import BytesIO
from tempfile import TemporaryFile
from typing import Any

from django.conf import settings

from istore import blobs
from istore.backup import database, hooks, layout, secret_files
from istore.backup.blob_copies import Copier, Counts
from istore.backup.layout import Manifest
from istore.backup.ledger import Ledger, batches
from istore.backup.targets import open_target, put, spooled, write_stream
from istore.blobs import moves
from istore.blobs.storage import BlobStorage, storage
from istore.blobs.stored import Stored
from istore.db import clock
from istore.errors import Conflict
from istore.failpoints import failpoint

NAMED_IN_MANIFEST = 1000  # missing or damaged objects that a manifest names
# Absent keys for which rows are asked by one statement. It reads all of them, as keys have no index.
ASKED_AT_ONCE = 100_000
TOLERANCE = timedelta(minutes=5)  # between the clocks of database and blob store

log = logging.getLogger(__name__)

Progress = Callable[[str, Counts], None]


@dataclass(frozen=True)
class Outcome:
    """A backup that was made. ``missing`` and ``damaged`` are objects that rows name still."""

    manifest: Manifest
    bytes: int
    missing: list[str]
    damaged: list[str]
    pruned: list[str]

    @property
    def is_whole(self) -> bool:
        """Whether every blob that the rows name is in the backup."""
        return not self.missing and not self.damaged


def make_backup(
    where: str, *, keep: int, on_progress: Progress = lambda step, counts: None
) -> Outcome:
    """Make a backup in a folder or bucket, and keep so many. Raises ``StoreError``.

    ``on_progress`` is called regularly with the step; what it raises ends the backup.
    """
    target = open_target(where)
    with moves.BACKUP_LOCK.try_hold() as is_ours:
        if not is_ours:
            raise Conflict("backup-running", "Another backup is being made.")
        ledger = Ledger.of_target(settings.ISTORE_HOME.directory("backup"), where)
        try:
            return _Making(target, ledger, on_progress).make(keep)
        finally:
            ledger.close()


class _Making:
    def __init__(
        self, target: BlobStorage, ledger: Ledger, on_progress: Progress
    ) -> None:
        self.target, self.ledger = target, ledger
        self.copier = Copier(storage, target, ledger)
        self.files: dict[str, dict[str, Any]] = {}
        self.on_progress = on_progress
        self.step = ""
        self.in_tables: set[str] = set()  # keys of files that other files name
        self.name = layout.new_name(clock.now())

    def make(self, keep: int) -> Outcome:
        self._begin("list the target")
        self._recall()
        at = self._dump()
        self._begin("copy blobs")
        hours = timedelta(hours=settings.ISTORE_RECONCILE_HOURS)
        self.copier.take_all(blobs.walk(), at - hours - TOLERANCE, self._report)
        gone, missing = self._take_the_rest(at)
        failpoint("backup.copied")
        self._begin("write the inventory")
        self._write_lines(layout.INVENTORY, self.ledger.inventory())
        self._write_lines(layout.MOVES, self.ledger.moves())
        self._write_small(layout.SECRETS, secret_files.read(settings.ISTORE_HOME))
        failpoint("backup.inventory_written")
        manifest = self._manifest(at, gone, missing)
        content = manifest.to_json()
        name = layout.file_name(self.name, layout.MANIFEST)
        put(self.target, name, BytesIO(content), len(content))
        failpoint("backup.manifest_written")
        self.ledger.forget_old()
        self._begin("remove old backups")
        pruned = prune(self.target, self.ledger, keep)
        size = manifest.blob_bytes + sum(each["size"] for each in self.files.values())
        return Outcome(manifest, size, missing, sorted(self.copier.damaged), pruned)

    def _begin(self, step: str) -> None:
        self.step = step
        self._report()

    def _report(self) -> None:
        self.on_progress(self.step, self.copier.counts)

    def _recall(self) -> None:
        """Learn what the target holds, and the hashes of the last backup if they are unknown."""
        self.ledger.add_held(
            (each.key.rpartition("/")[2], each.size)
            for each in self.target.walk(layout.OBJECTS)
            if not each.is_partial
        )
        backups = layout.complete_backups(self.target)
        if backups and not self.ledger.has_known():
            last = Manifest.read(self.target, backups[-1])
            with layout.downloaded(self.target, last, layout.INVENTORY) as file:
                self.ledger.add_known(layout.read_inventory(file))

    def _dump(self) -> datetime:
        """Dump the database and note the keys that rows name; return the time of the snapshot."""
        self._begin("dump the database")
        with database.snapshot() as snapshot:
            name = layout.file_name(self.name, layout.DATABASE)
            sink = write_stream(self.target, name, self._reporting(snapshot.dump()))
            self.files[layout.DATABASE] = {"size": sink.size, "sha256": sink.sha256}
            failpoint("backup.dumped")
            self._begin("read the keys that rows name")
            for each in hooks.named_keys.values():
                keys = snapshot.keys(each.query)
                self.ledger.add_named(keys, required=each.required)
                self._report()
            for files in hooks.files_of_files.values():
                self.in_tables |= set(files.keys(snapshot.column))
                self._report()
            self.ledger.add_named(self.in_tables, required=True)
            return snapshot.at

    def _reporting(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        for chunk in chunks:
            self._report()
            yield chunk

    def _take_the_rest(self, at: datetime) -> tuple[int, list[str]]:
        """Take what the walk has not met; return how many are gone, and those missing.

        Those are blobs that were moved, and blobs whose listing came too early.
        """
        self._follow_moves(at)
        gone, missing = 0, []
        for absent in batches(self._find_absent(at), ASKED_AT_ONCE):
            lost = _still_named(absent)
            self._check_tables({*absent} - lost)
            gone += len(absent) - len(lost)
            missing += sorted(lost)
            self._report()
        return gone, missing

    def _find_absent(self, at: datetime) -> Iterator[str]:
        """Take what was not met and is there, and yield the required keys that are not."""
        for some in batches(self.ledger.named_and_not_taken()):
            required = {key for key, is_required in some if is_required}
            self.copier.take([each for key, _ in some if (each := _stat(key))])
            absent = [
                key
                for key in sorted(required)
                if not self.ledger.has_taken(key) and key not in self.copier.damaged
            ]
            # A move that was committed after the last look is noted before its blob goes.
            if absent:
                self._follow_moves(at)
            self._report()
            yield from (key for key in absent if not self.ledger.has_moved_from(key))

    def _check_tables(self, absent: set[str]) -> None:
        """Raise ``Conflict`` if files of a table went that its snapshot in the dump needs."""
        if lost := sorted(absent & self.in_tables):
            raise Conflict(
                "backup-overtaken",
                f"{lost[0]} was erased while the backup was made: make it again.",
            )

    def _follow_moves(self, at: datetime) -> None:
        """Note the moves since the snapshot, and take the packs that they lead to."""
        found = moves.since(at - TOLERANCE).order_by("old_key").iterator(1000)
        for some in batches(found):
            self.ledger.add_moved(some)
            new = {key.partition("#")[0] for _, key in some}
            left = [key for key in sorted(new) if not self.ledger.has_taken(key)]
            self.copier.take([each for key in left if (each := _stat(key))])

    def _write_lines(self, file: str, lines: Any) -> None:
        with TemporaryFile() as content:
            layout.write_lines(lines, content)
            content.seek(0)
            self._write(file, iter(lambda: content.read(1024**2), b""))

    def _write_small(self, file: str, content: bytes) -> None:
        self._write(file, iter([content]))

    def _write(self, file: str, chunks: Iterator[bytes]) -> None:
        with spooled(chunks) as (content, sha256, size):
            put(self.target, layout.file_name(self.name, file), content, size)
        self.files[file] = {"size": size, "sha256": sha256}

    def _manifest(self, at: datetime, gone: int, missing: list[str]) -> Manifest:
        count, size = self.ledger.totals()
        counts = self.copier.counts
        return Manifest(
            name=self.name,
            snapshot_at=at.astimezone(UTC).isoformat(),
            made_at=clock.now().isoformat(),
            server=database.server_version(),
            migrations=database.applied_migrations(),
            files=self.files,
            blobs=count,
            blob_bytes=size,
            copied=counts.copied,
            copied_bytes=counts.copied_bytes,
            gone=gone,
            missing=missing[:NAMED_IN_MANIFEST],
            damaged=sorted(self.copier.damaged)[:NAMED_IN_MANIFEST],
        )


def _stat(key: str) -> Stored | None:
    """Return an object of the store with its size; None if there is none."""
    try:
        size = storage.size(key)
    except FileNotFoundError:
        return None
    # Its time of change is unknown here, so the next run reads it again unless it lists it.
    return Stored(key, size, datetime.fromtimestamp(0, UTC))


def _still_named(keys: list[str]) -> set[str]:
    found: set[str] = set()
    for each in hooks.named_keys.values():
        if each.required:
            found |= database.still_named(each.query, keys)
    for files in hooks.files_of_files.values():
        found |= set(keys) & set(files.keys(database.column))
    return found


def prune(target: BlobStorage, ledger: Ledger, keep: int) -> list[str]:
    """Remove all but the newest ``keep`` backups and what only they needed; return their names.

    A manifest goes first, so that a kill leaves a folder that is no backup. Folders without one
    go as well: no other backup is being made. The ledger knows the objects of the target.
    """
    complete = layout.complete_backups(target)
    kept = complete[-max(1, keep) :]
    old = [each for each in layout.folders(target) if each not in kept]
    if not old:
        return []
    target.delete_all(
        layout.file_name(each, layout.MANIFEST) for each in old if each in complete
    )
    failpoint("backup.old_manifests_removed")
    for each in old:
        folder = layout.file_name(each, "")
        target.delete_all([stored.key for stored in target.walk(folder)])
    for each in kept:
        manifest = Manifest.read(target, each)
        with layout.downloaded(target, manifest, layout.INVENTORY) as file:
            ledger.add_needed(blob.sha256 for blob in layout.read_inventory(file))
    for some in batches(ledger.unneeded()):
        target.delete_all([layout.object_name(sha256) for sha256 in some])
    return [each for each in old if each in complete]
