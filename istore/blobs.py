"""Objects beside the database: put, open, list, sign and delete over the default storage.

A key is made here and never holds an outside id:
``<project key>/<model key>/<yyyy>/<mm>/<dd>/<hh>/<uuid7>/<kind>``. A key is written once.
A put that returned is durable: a completed PUT at the object store, or a file that was
synced together with the directory that names it.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlencode

from botocore.config import Config
from django.conf import settings
from django.core import signing
from django.core.files.base import ContentFile, File
from django.core.files.storage import FileSystemStorage, default_storage
from storages.backends.s3 import S3Storage as BotoStorage

INPUT, ANSWER, METADATA = "input", "answer", "metadata"
SALT = "istore.blobs"
DELETE_AT_ONCE = 1000  # the most keys one S3 request may name
DELETE_THREADS = 4  # each delete waits for a disk or a server
FEW = 100  # folders that one thread deletes


class LocalStorage(FileSystemStorage):
    """Files that are whole or absent: temporary name, fsync, rename, fsync directory."""

    def __init__(self, location: str) -> None:
        super().__init__(location=location, file_permissions_mode=0o600)

    def _save(self, name: str, content: File) -> str:
        path = Path(self.path(name))
        self._make_directory(path.parent)
        partial = path.with_name(f".{path.name}.{secrets.token_hex(6)}.partial")
        try:
            descriptor = os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
            with open(descriptor, "wb") as file:
                for chunk in content.chunks():
                    file.write(chunk)
                file.flush()
                os.fsync(file.fileno())
            os.rename(partial, path)
        except BaseException:
            with suppress(FileNotFoundError):
                partial.unlink()
            raise
        _sync(path.parent)
        return name

    def _make_directory(self, directory: Path) -> None:
        """Every directory that is made here is named durably in the one above it."""
        if directory.is_dir():
            return
        self._make_directory(directory.parent)
        with suppress(FileExistsError):
            directory.mkdir(mode=0o700)
        _sync(directory.parent)

    def get_available_name(self, name: str, max_length: int | None = None) -> str:
        return name  # keys are ours and unique; a repeated put writes the same bytes

    def delete(self, name: str) -> None:
        """Remove the file, and the directory of its inference when it was the last."""
        self.delete_all([name])

    def delete_all(self, names: Iterable[str]) -> None:
        """As ``delete`` for each, several at a time; a directory is looked at once."""
        folders: dict[str, list[str]] = {}
        for name in names:
            folder, _, file = name.rpartition("/")
            folders.setdefault(folder, []).append(file)
        found = [(self._place(folder), files) for folder, files in folders.items()]
        if len(found) <= FEW:
            _remove_folders(found)
        else:
            shares = [found[start::DELETE_THREADS] for start in range(DELETE_THREADS)]
            _at_once(_remove_folders, shares)

    def _place(self, folder: str) -> str:
        """As ``path``, which is slow; a name that might lead outside still takes it."""
        parts = folder.split("/")
        if "" in parts or ".." in parts or os.sep != "/":
            return self.path(folder)
        return f"{self.location}/{folder}"

    def url(self, name: str, **options: Any) -> str:
        return _signed_link(name)


class S3Storage(BotoStorage):
    """S3 and what speaks like it. Checksums only where asked: other servers' differ."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.client_config = Config(
            s3={"addressing_style": self.addressing_style},
            signature_version=self.signature_version,
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            retries={"max_attempts": 4, "mode": "standard"},
        )


def prefix_for(
    project_key: int, model_key: int, received_at: datetime, unique: str
) -> str:
    """Where the blobs of one inference lie; ``unique`` is a UUIDv7 made for it."""
    hour = received_at.astimezone(UTC).strftime("%Y/%m/%d/%H")
    return f"{project_key}/{model_key}/{hour}/{unique}"


def put(
    key: str, content: bytes, content_type: str = "application/octet-stream"
) -> None:
    """Store the bytes durably. Putting the same key again is a repeat of the same step."""
    file = ContentFile(content, name=key)
    file.content_type = content_type
    default_storage.save(key, file)


def get(key: str) -> bytes:
    """The whole blob. Raises FileNotFoundError when there is none."""
    with open_blob(key) as file:
        return file.read()


def open_blob(key: str) -> IO[bytes]:
    """The blob as a file to read from, seekable. Raises FileNotFoundError."""
    return default_storage.open(key, "rb")


def size(key: str) -> int:
    return default_storage.size(key)


def delete(keys: Iterable[str]) -> None:
    """Remove the blobs; one that is missing counts as removed."""
    wanted = [key for key in keys if key]
    if not hasattr(default_storage, "bucket"):
        default_storage.delete_all(wanted)
        return
    starts = range(0, len(wanted), DELETE_AT_ONCE)
    _at_once(
        _delete_objects, [wanted[start : start + DELETE_AT_ONCE] for start in starts]
    )


def _delete_objects(keys: list[str]) -> None:
    bucket = default_storage.bucket
    # The client, unlike the bucket, is one for all threads.
    answer = bucket.meta.client.delete_objects(
        Bucket=bucket.name,
        Delete={"Objects": [{"Key": key} for key in keys], "Quiet": False},
    )
    failed = [e for e in answer.get("Errors", []) if e.get("Code") != "NoSuchKey"]
    if failed:
        raise OSError(f"{len(failed)} blobs could not be removed: {failed[0]}")


def _remove_folders(folders: list[tuple[str, list[str]]]) -> None:
    """The files of each, and the directory when they were all that was in it."""
    for directory, files in folders:
        for file in files:
            with suppress(FileNotFoundError):
                os.unlink(f"{directory}/{file}")
        with suppress(OSError):
            os.rmdir(directory)


def _at_once(act: Callable[[Any], None], shares: list[Any]) -> None:
    """Call for each share, in threads. Returns when all ended; raises what one raised."""
    if len(shares) < 2:
        for share in shares:
            act(share)
        return
    with ThreadPoolExecutor(DELETE_THREADS, "blobs") as threads:
        for _ in threads.map(act, shares):
            pass


def listed(prefix: str) -> tuple[list[str], list[str]]:
    """The names of directories and files directly below a prefix; empty when absent."""
    try:
        return default_storage.listdir(prefix)
    except FileNotFoundError:
        return [], []


@dataclass(frozen=True, slots=True)
class Stored:
    """One object as it lies in the store."""

    key: str
    size: int
    modified_at: datetime

    @property
    def folder(self) -> str:
        return self.key.rpartition("/")[0]

    @property
    def is_partial(self) -> bool:
        """What a put that was killed left behind, or one in progress."""
        name = self.key.rpartition("/")[2]
        return name.startswith(".") and name.endswith(".partial")


def walk(prefix: str = "") -> Iterator[Stored]:
    """Every object below a prefix that ends with a slash, folder by folder.

    Nothing is held but the way down, so it may be as much as it likes. What comes or goes
    meanwhile is met or not.
    """
    bucket = getattr(default_storage, "bucket", None)
    if bucket is None:
        root = Path(default_storage.path("."))
        yield from _files(root / prefix, prefix)
        return
    for each in bucket.objects.filter(Prefix=prefix):
        yield Stored(each.key, each.size, each.last_modified)


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


def open_uploads(before: datetime) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Multipart uploads begun before and never completed: the key, and what ends each.

    Files have none: they have partial ones.
    """
    bucket = getattr(default_storage, "bucket", None)
    for upload in bucket.multipart_uploads.all() if bucket is not None else ():
        if upload.initiated < before:
            yield upload.object_key, upload.abort


# -- links that open one blob for a while, without a token


def presigned_url(key: str) -> str:
    """A link to the blob for ``ISTORE_PRESIGN_SECONDS``, for whoever holds it."""
    return default_storage.url(key)


def key_of_link(signature: str) -> str:
    """The key a link of ours names. Raises ``SignatureExpired`` or ``BadSignature``."""
    signer = signing.TimestampSigner(key=settings.ISTORE_SIGNING_KEY, salt=SALT)
    return signer.unsign_object(signature, max_age=settings.ISTORE_PRESIGN_SECONDS)


def _signed_link(key: str) -> str:
    signer = signing.TimestampSigner(key=settings.ISTORE_SIGNING_KEY, salt=SALT)
    query = urlencode({"signature": signer.sign_object(key)})
    return f"{settings.ISTORE_URL}/blobs?{query}"


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
