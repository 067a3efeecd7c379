"""Restore a backup: secrets, blobs, database, moves, migrations.

The steps are of a home that is empty, or that an interrupted restore of the same backup has
begun: ``begin`` writes a marker into the home, and ``finish`` removes it. Each step may run twice.
Blobs are put before the database is loaded, so no row is ever visible without its blob.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import IO

from django.core.management import call_command
from django.db.migrations.loader import MigrationLoader

from istore import blobs
from istore.backup import database, hooks, layout, secret_files
from istore.backup.layout import Manifest
from istore.backup.ledger import Blob, batches
from istore.backup.targets import put, read_chunks, spooled
from istore.blobs.durable_files import sync_directory, write_durably
from istore.blobs.errors import BlobDamaged
from istore.blobs.storage import BlobStorage, storage
from istore.errors import Conflict, NotFound, StoreError, Unprocessable
from istore.failpoints import failpoint
from istore.home import Home
from istore.models import BackupTask
from istore.tasks.tracking import TaskState

MARKER = "restoring.json"
THREADS = 4
INTERRUPTED = "It was being made in the snapshot that was restored."

Progress = Callable[[str, int, int], None]


def find(target: BlobStorage, name: str = "") -> Manifest:
    """Return the manifest of a backup, without a name of the newest. Raises ``StoreError``."""
    if name:
        return Manifest.read(target, name)
    found = layout.complete_backups(target)
    if not found:
        raise NotFound("not-found", "There is no backup: no folder has a manifest.")
    return Manifest.read(target, found[-1])


def check_schema(manifest: Manifest) -> None:
    """Raise ``Unprocessable`` unless this release can read, and migrate, the database."""
    known = set()
    for key, migration in MigrationLoader(None).disk_migrations.items():
        known |= {key, *migration.replaces}
    unknown = [
        f"{app}.{name}"
        for app, names in manifest.migrations.items()
        for name in names
        if (app, name) not in known
    ]
    if unknown:
        raise Unprocessable(
            "backup-newer",
            f"The backup {manifest.name} was made by a newer release: migration "
            f"{unknown[0]} is unknown here.",
        )
    if "0001_initial" not in manifest.migrations.get("istore", []):
        raise Unprocessable(
            "backup-older",
            f"The backup {manifest.name} has an older schema than this release can migrate.",
        )


@dataclass
class Restore:
    """One restore into a home. ``problems`` are blobs that are missing or damaged, by name."""

    target: BlobStorage
    manifest: Manifest
    home: Home
    on_progress: Progress = lambda step, done, of: None
    problems: list[str] = field(default_factory=list)

    @property
    def marker(self) -> Path:
        """The file that says which backup is being restored into the home."""
        return self.home.root / MARKER

    @property
    def snapshot_at(self) -> datetime:
        """The time of the data of the backup."""
        return datetime.fromisoformat(self.manifest.snapshot_at)

    def is_begun(self) -> bool:
        """Return whether a restore of this backup was interrupted in this home."""
        try:
            begun = json.loads(self.marker.read_text())
        except (FileNotFoundError, ValueError):
            return False
        return bool(begun == {"backup": self.manifest.name})

    def check_home(self) -> None:
        """Raise ``Conflict`` if the home holds a database or blobs."""
        held = [path.name for path in (self.home.root / "postgres",) if path.exists()]
        if next((each for each in blobs.walk() if not each.is_partial), None):
            held.append("blobs")
        if held:
            raise Conflict(
                "home-not-empty",
                f"{self.home.root} is not empty: it has {' and '.join(held)}. With "
                "--replace its database is replaced.",
            )

    def begin(self) -> None:
        """Mark the home as being restored."""
        text = json.dumps({"backup": self.manifest.name})
        write_durably(self.marker, [text.encode()])

    def finish(self) -> None:
        """Remove the mark: the home is restored."""
        self.marker.unlink(missing_ok=True)
        sync_directory(self.home.root)

    # -- the steps

    def write_secrets(self) -> list[str]:
        """Write the secrets of the backup into the home; return their names."""
        content = b"".join(self._chunks(layout.SECRETS))
        return secret_files.write(self.home, content)

    def put_blobs(self) -> None:
        """Put the blobs of the inventory; those that are there already are left alone."""
        done = 0
        with self._file(layout.INVENTORY) as file:
            for some in batches(layout.read_inventory(file), 16 * THREADS):
                with ThreadPoolExecutor(THREADS, "restore") as threads:
                    wrong = [each for each in threads.map(self._put, some) if each]
                self.problems += wrong
                done += len(some)
                self.on_progress("put blobs", done, self.manifest.blobs)
                failpoint("restore.blobs_put")

    def _put(self, blob: Blob) -> str | None:
        """Put one blob; return what is wrong with it."""
        if self._is_there(blob):
            return None
        name = layout.object_name(blob.sha256)
        try:
            with spooled(read_chunks(self.target, name, blob.size)) as content:
                file, sha256, size = content
                if (sha256, size) != (blob.sha256, blob.size):
                    return f"{blob.key}: damaged in the backup ({name})."
                put(storage, blob.key, file, size)
        except FileNotFoundError:
            return f"{blob.key}: missing in the backup ({name})."
        except BlobDamaged as error:
            return f"{blob.key}: damaged in the backup ({error})."
        return None

    @staticmethod
    def _is_there(blob: Blob) -> bool:
        try:
            if storage.size(blob.key) != blob.size:
                return False
            digest = hashlib.sha256()
            for chunk in read_chunks(storage, blob.key, blob.size):
                digest.update(chunk)
        except (FileNotFoundError, BlobDamaged):
            return False
        return digest.hexdigest() == blob.sha256

    def load_database(self) -> None:
        """Load the dump into the database, which is running and empty, and migrate it."""
        if self.manifest.server // 10_000 > database.server_version() // 10_000:
            raise Unprocessable(
                "backup-newer",
                f"The database of the backup was PostgreSQL {self.manifest.server // 10_000}, "
                f"and this server is {database.server_version() // 10_000}.",
            )
        if database.has_tables():
            raise Conflict(
                "database-not-empty",
                "The database is not empty: drop it and create it again.",
            )
        # A file in the home, as the system's temporary directory may be small.
        dump = self.home.directory("backup") / "restored.dump"
        try:
            with open(dump, "wb") as file:
                for chunk in self._chunks(layout.DATABASE):
                    file.write(chunk)
                    self.on_progress("read the dump", file.tell(), self._dump_bytes)
            self.on_progress("load the database", 0, 0)
            failpoint("restore.dump_read")
            database.load(dump)
        finally:
            dump.unlink(missing_ok=True)
        failpoint("restore.database_loaded")
        self._apply_moves()
        self.on_progress("migrate", 0, 0)
        call_command("migrate", interactive=False, verbosity=0)
        # The row of this backup itself was written while it was made.
        BackupTask.objects.active().update(state=TaskState.STOPPED, reason=INTERRUPTED)
        failpoint("restore.migrated")

    @property
    def _dump_bytes(self) -> int:
        return int(self.manifest.files[layout.DATABASE]["size"])

    def _apply_moves(self) -> None:
        """Point rows of the snapshot at blobs that went into another pack after it."""
        with self._file(layout.MOVES) as file:
            for some in batches(layout.read_lines(file), 10_000):
                moved = dict(some)
                for repoint in hooks.repoints.values():
                    repoint(moved)

    def _chunks(self, file: str) -> Iterator[bytes]:
        return layout.checked_chunks(self.target, self.manifest, file)

    def _file(self, file: str) -> IO[bytes]:
        """Return a file of the backup, downloaded and checked."""
        return layout.downloaded(self.target, self.manifest, file)


def erase_again(erasures: list[dict[str, str]]) -> Iterator[str]:
    """Carry out the erasures of a list, and yield what came of each. Raises ``StoreError``."""
    erase = hooks.erasures.single
    if erase is None:
        raise StoreError("no-erasures", "This installation has no erasures.")
    for each in erasures:
        yield erase(each)
