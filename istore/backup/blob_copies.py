"""Copy blobs of the store into the target, each once, under the hash of its content."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime

from istore.backup import layout
from istore.backup.ledger import Blob, Ledger, batches
from istore.backup.targets import put, read_chunks, spooled
from istore.blobs.errors import BlobDamaged
from istore.blobs.keys import PROBES
from istore.blobs.storage import BlobStorage
from istore.blobs.stored import Stored
from istore.failpoints import failpoint

THREADS = 4  # each may hold an object of ``targets.IN_MEMORY`` bytes


@dataclass
class Counts:
    """What a run has done so far. ``looked_at`` counts blobs of the store."""

    looked_at: int = 0
    copied: int = 0
    copied_bytes: int = 0
    unnamed: int = 0


class Copier:
    """Takes blobs into the inventory of a backup; those that the target has are not copied.

    A blob is not read again while its size and its time of change are as an earlier run saw
    them. On disk a pack changes when a member is released: then it is another object, and
    earlier backups keep the one that they have.
    """

    def __init__(self, store: BlobStorage, target: BlobStorage, ledger: Ledger) -> None:
        self.store, self.target, self.ledger = store, target, ledger
        self.counts = Counts()
        self.damaged: list[str] = []

    def take_all(
        self,
        found: Iterable[Stored],
        young_from: datetime,
        on_progress: Callable[[], None],
    ) -> None:
        """Take the blobs that rows name, and those so young that their rows may be on the way.

        Others are named by nothing, and left to the collector.
        """
        for some in batches(each for each in found if _is_blob(each)):
            named = self.ledger.named_among([each.key for each in some])
            wanted = [
                each
                for each in some
                if each.key in named or each.modified_at >= young_from
            ]
            self.counts.looked_at += len(some)
            self.counts.unnamed += len(some) - len(wanted)
            self.take(wanted)
            on_progress()
            failpoint("backup.blobs_copied")

    def take(self, wanted: list[Stored]) -> None:
        """Take these blobs. One that is removed meanwhile is left out."""
        known = (
            self.ledger.known_hashes([each.key for each in wanted]) if wanted else {}
        )
        fresh: list[Stored] = []
        same: list[Blob] = []
        for each in wanted:
            before = known.get(each.key)
            is_same = before is not None and (before.size, before.modified) == (
                each.size,
                each.modified_at.timestamp(),
            )
            if before and is_same and self.ledger.holds(before.sha256, before.size):
                same.append(before)
            else:
                fresh.append(each)
        self.ledger.take(same)
        # The threads ask no database: the ledger and the counts belong to this one.
        for some in batches(fresh, 8 * THREADS):
            with ThreadPoolExecutor(THREADS, "backup") as threads:
                self.ledger.take(self._count(threads.map(self._copy, some)))

    def _count(self, results: Iterable[tuple[Blob | None, bool]]) -> Iterator[Blob]:
        for blob, is_new in results:
            if blob is None:
                continue
            self.counts.copied += is_new
            self.counts.copied_bytes += blob.size if is_new else 0
            yield blob

    def _copy(self, stored: Stored) -> tuple[Blob | None, bool]:
        """Copy one blob; return it, and whether the target had no such object."""
        try:
            with spooled(read_chunks(self.store, stored.key, stored.size)) as content:
                file, sha256, size = content
                is_new = not self._holds(sha256, size)
                if is_new:
                    put(self.target, layout.object_name(sha256), file, size)
        except FileNotFoundError:
            return None, False
        except BlobDamaged:
            self.damaged.append(stored.key)
            return None, False
        modified = stored.modified_at.timestamp()
        return Blob(stored.key, size, modified, sha256), is_new

    def _holds(self, sha256: str, size: int) -> bool:
        try:
            return self.target.size(layout.object_name(sha256)) == size
        except FileNotFoundError:
            return False


def _is_blob(stored: Stored) -> bool:
    return not stored.is_partial and not stored.key.startswith(f"{PROBES}/")
