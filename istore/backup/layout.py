"""What is where in a target, and the manifest that makes a folder a backup."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from tempfile import TemporaryFile
from typing import IO, Any

from istore.backup.ledger import Blob
from istore.backup.targets import read_chunks, read_small
from istore.blobs.storage import BlobStorage
from istore.errors import NotFound, Unprocessable

FORMAT = 1
OBJECTS, BACKUPS = "objects/", "backups/"
DATABASE, INVENTORY, MOVES = "database.dump", "inventory.jsonl.gz", "moves.jsonl.gz"
SECRETS, MANIFEST = "secrets.json", "manifest.json"
NAME = "%Y%m%dT%H%M%S.%fZ"


def object_name(sha256: str) -> str:
    """Return the name of the object with this hash."""
    return f"{OBJECTS}{sha256[:2]}/{sha256}"


def file_name(backup: str, file: str) -> str:
    """Return the name of a file of a backup."""
    return f"{BACKUPS}{backup}/{file}"


def new_name(at: datetime) -> str:
    """Return the name of a backup that is made at this time; names sort by time."""
    return at.astimezone(UTC).strftime(NAME)


@dataclass(frozen=True)
class Manifest:
    """What a backup is: its time, its files by size and hash, and what is not in it.

    ``missing`` are objects that rows still named when they were not found, and ``gone`` counts
    those that were removed while the backup was made. ``migrations`` are the applied ones of each
    app.
    """

    name: str
    snapshot_at: str
    made_at: str
    server: int
    migrations: dict[str, list[str]]
    files: dict[str, dict[str, Any]]
    blobs: int
    blob_bytes: int
    copied: int
    copied_bytes: int
    gone: int = 0
    missing: list[str] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)
    format: int = FORMAT

    def to_json(self) -> bytes:
        """Return the text of the file."""
        return json.dumps(asdict(self), indent=1, sort_keys=True).encode()

    @classmethod
    def read(cls, target: BlobStorage, backup: str) -> Manifest:
        """Return the manifest of a backup. Raises ``NotFound`` and ``Unprocessable``."""
        try:
            text = read_small(target, file_name(backup, MANIFEST))
        except FileNotFoundError:
            raise NotFound(
                "not-found", f"There is no backup {backup}: it has no manifest."
            ) from None
        try:
            fields = json.loads(text)
            known = fields["format"] == FORMAT
        except (ValueError, TypeError, KeyError):
            raise Unprocessable(
                "backup-damaged", f"The manifest of {backup} cannot be read."
            ) from None
        if not known:
            raise Unprocessable(
                "backup-format",
                f"The backup {backup} has format {fields['format']}; this release reads "
                f"{FORMAT}.",
            )
        return cls(**fields)


def folders(target: BlobStorage) -> list[str]:
    """Return the names of the folders of backups, oldest first, also of unfinished ones."""
    try:
        return sorted(filter(None, target.listdir(BACKUPS.rstrip("/"))[0]))
    except FileNotFoundError:
        return []


def is_complete(target: BlobStorage, backup: str) -> bool:
    """Return whether a folder has a manifest."""
    try:
        target.size(file_name(backup, MANIFEST))
    except FileNotFoundError:
        return False
    return True


def complete_backups(target: BlobStorage) -> list[str]:
    """Return the names of the backups, oldest first."""
    return [each for each in folders(target) if is_complete(target, each)]


def write_lines(lines: Iterable[Any], file: IO[bytes]) -> None:
    """Write each item as a line of JSON, compressed."""
    with gzip.GzipFile(fileobj=file, mode="wb", mtime=0) as packed:
        for line in lines:
            packed.write(json.dumps(line).encode() + b"\n")


def read_lines(content: IO[bytes]) -> Iterator[Any]:
    """Yield what ``write_lines`` has written."""
    with gzip.GzipFile(fileobj=content, mode="rb") as packed:
        for line in packed:
            yield json.loads(line)


def read_inventory(content: IO[bytes]) -> Iterator[Blob]:
    """Yield the blobs of an inventory."""
    for line in read_lines(content):
        yield Blob(*line)


def checked_chunks(
    target: BlobStorage, manifest: Manifest, file: str
) -> Iterator[bytes]:
    """Yield a file of a backup. Raises ``Unprocessable`` at its end if it is another one."""
    name, wanted = file_name(manifest.name, file), manifest.files[file]
    digest, size = hashlib.sha256(), 0
    try:
        for chunk in read_chunks(target, name, wanted["size"]):
            digest.update(chunk)
            size += len(chunk)
            yield chunk
    except FileNotFoundError:
        raise Unprocessable("backup-damaged", f"{name} is missing.") from None
    except OSError as error:
        raise Unprocessable("backup-damaged", f"{name}: {error}") from None
    if (size, digest.hexdigest()) != (wanted["size"], wanted["sha256"]):
        raise Unprocessable("backup-damaged", f"{name} is not what was written.")


def downloaded(target: BlobStorage, manifest: Manifest, file: str) -> IO[bytes]:
    """Return a file of a backup as a temporary one. Raises as ``checked_chunks`` does."""
    content = TemporaryFile()  # noqa: SIM115  # the caller closes it
    try:
        for chunk in checked_chunks(target, manifest, file):
            content.write(chunk)
    except BaseException:
        content.close()
        raise
    content.seek(0)
    return content
