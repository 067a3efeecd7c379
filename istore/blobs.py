"""Objects beside the database: put, open, list, sign and delete over the default storage.

A key is made here and never holds an outside id:
``<project key>/<model key>/<yyyy>/<mm>/<dd>/<hh>/<uuid7>/<kind>``. A key is written once.
A put that returned is durable: a completed PUT at the object store, or a file that was
synced together with the directory that names it.
"""

from __future__ import annotations

import base64
import hashlib
import os
import secrets
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Lock
from typing import IO, Any
from urllib.parse import urlencode

from boto3.exceptions import Boto3Error
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from django.conf import settings
from django.core import signing
from django.core.files.base import ContentFile, File
from django.core.files.storage import FileSystemStorage, default_storage
from s3transfer.exceptions import RetriesExceededError
from storages.backends.s3 import S3File
from storages.backends.s3 import S3Storage as BotoStorage

INPUT, ANSWER, METADATA = "input", "answer", "metadata"
PROBES = "probes"
SALT = "istore.blobs"
DELETE_AT_ONCE = 1000  # the most keys one S3 request may name
DELETE_THREADS = 4  # each delete waits for a disk or a server
FEW = 100  # folders that one thread deletes
PART_BYTES = 16 * 1024**2  # S3 takes 10,000 parts: 160 GB
S3_CONNECT_SECONDS, S3_READ_SECONDS = 5, 60
NO_BUCKET = "does not exist."
ASK_SECONDS = 2  # that a bucket may take to say whether it is there
TROUBLE_SECONDS = 5.0  # that its answer is believed
LEAST_FREE_BYTES, LEAST_FREE_INODES = 512 * 1024**2, 2000


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
                size = 0
                for chunk in content.chunks():
                    size += len(chunk)
                    file.write(chunk)
                file.flush()
                os.fsync(file.fileno())
                if (found := os.fstat(file.fileno()).st_size) != size:
                    raise BlobDamaged(f"{name}: {found} of {size} bytes are there.")
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

    def trouble(self) -> str | None:
        """Why files cannot be put here, in a sentence."""
        where = Path(self.location)
        while not where.exists():  # it is made at the first put
            where = where.parent
        if not os.access(where, os.W_OK | os.X_OK):
            return f"{where} cannot be written to."
        return no_room(where)


class BlobDamaged(OSError):
    """The object store holds, or sent, something else than it was given."""


class BucketAway(OSError):
    """The bucket itself is missing or refuses us: no object of it can be called absent."""


class S3Storage(BotoStorage):
    """S3 and what speaks like it. Checksums only where asked: other servers' differ.

    A 200 alone is not believed: what a put says of the object has to fit what was sent, or
    the object is looked at, before the put returns.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.client_config = Config(
            s3={"addressing_style": self.addressing_style},
            signature_version=self.signature_version,
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            retries={"max_attempts": 4, "mode": "standard"},
            connect_timeout=S3_CONNECT_SECONDS,
            read_timeout=S3_READ_SECONDS,
        )
        self._asking, self._answer = Lock(), (0.0, None)
        # One GET an object: the length of a range cannot be told from a whole answer's.
        self.transfer_config = TransferConfig(
            use_threads=False, multipart_threshold=2**50
        )

    @property
    def client(self) -> Any:
        return self.connection.meta.client

    def _save(self, name: str, content: File) -> str:
        """Put the object, in parts where it is large, and see that it is what was sent."""
        where = {"Bucket": self.bucket_name, "Key": self._normalize_name(name)}
        parameters = self._get_write_parameters(where["Key"], content)
        content.seek(0)
        first = _read_part(content)
        if len(first) < PART_BYTES:
            put_object(self.client, where, first, **parameters)
            return name
        upload = MultipartPut(self.client, where, **parameters)
        try:
            part = first
            while part:
                upload.send(part)
                part = _read_part(content)
            upload.complete()
        except BaseException:
            upload.abort()
            raise
        return name

    def _open(self, name: str, mode: str = "rb") -> File:
        key = self._normalize_name(name)
        try:
            return CheckedFile(key, mode, self)
        except ClientError as error:
            raise self._missing(error, key) from error

    def size(self, name: str) -> int:
        try:
            return self.bucket.Object(self._normalize_name(name)).content_length
        except ClientError as error:
            raise self._missing(error, name) from error

    def exists(self, name: str) -> bool:
        try:
            self.size(name)
        except FileNotFoundError:
            return False
        return True

    def _missing(self, error: ClientError, name: str) -> Exception:
        """What a failed HEAD means: it has no body, and a missing bucket is a 404, too."""
        if _status(error) != 404:
            return error
        reason = self.trouble()
        if reason and reason.endswith(NO_BUCKET):
            return BucketAway(reason)
        return FileNotFoundError(f"There is no object {name}.")

    def trouble(self) -> str | None:
        """Why the bucket cannot be used, in a sentence; None: it can, or could a few
        seconds ago."""
        with self._asking:  # one thread asks, the others have its answer
            asked_at, answer = self._answer
            if not asked_at or time.monotonic() - asked_at > TROUBLE_SECONDS:
                answer = self._ask_bucket()
                self._answer = time.monotonic(), answer
        return answer

    def _ask_bucket(self) -> str | None:
        client = self._create_session().client(
            "s3",
            region_name=self.region_name,
            endpoint_url=self.endpoint_url,
            config=self.client_config.merge(
                Config(
                    connect_timeout=ASK_SECONDS,
                    read_timeout=ASK_SECONDS,
                    retries={"max_attempts": 1, "mode": "standard"},
                )
            ),
        )
        name = f"The bucket {self.bucket_name!r}"
        try:
            client.head_bucket(Bucket=self.bucket_name)
        except ClientError as error:
            status = _status(error)
            if status == 404:
                return f"{name} {NO_BUCKET}"
            if status in (401, 403):
                return self._refused(client, name)
            return f"{name} answers {status}."
        except (BotoCoreError, OSError) as error:
            return f"{name} does not answer: {type(error).__name__}."
        return None

    def _refused(self, client: Any, name: str) -> str | None:
        """Whether more is refused than to look at the bucket, which a policy may do."""
        key = f"{PROBES}/{secrets.token_hex(8)}/probe"
        try:
            client.put_object(Bucket=self.bucket_name, Key=key, Body=b"probe")
            client.delete_object(Bucket=self.bucket_name, Key=key)
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code", _status(error))
            return f"{name} refuses these credentials: {code}."
        except (BotoCoreError, OSError) as error:
            return f"{name} does not answer: {type(error).__name__}."
        return None


class CheckedFile(S3File):
    """An object that is as long as its HEAD said, or fails to be read."""

    def _get_file(self) -> IO[bytes]:
        is_fresh = self._file is None
        try:
            file = super()._get_file()
            if is_fresh and "r" in self._mode:
                length = file.seek(0, os.SEEK_END)
                file.seek(0)
                if length != self.obj.content_length:
                    raise BlobDamaged(
                        f"{self.name}: {length} bytes came, not {self.obj.content_length}."
                    )
        except (BotoCoreError, Boto3Error, RetriesExceededError) as error:
            self._forget()
            raise BlobDamaged(f"{self.name} broke off: {error}") from error
        except BlobDamaged:
            self._forget()
            raise
        return file

    def _forget(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    file = property(_get_file, S3File._set_file)


def put_object(
    client: Any, where: dict[str, Any], content: bytes, **parameters: Any
) -> None:
    """One object with this content. Raises BlobDamaged when the store has another."""
    digest = hashlib.md5(content, usedforsecurity=False)
    answer = client.put_object(
        **where,
        **parameters,
        Body=content,
        ContentMD5=base64.b64encode(digest.digest()).decode(),
    )
    if _etag(answer) != digest.hexdigest():
        _look_at(client, where, len(content), hashlib.sha256(content).digest())


class MultipartPut:
    """One object in parts. Nothing is under its key before ``complete`` returned."""

    def __init__(self, client: Any, where: dict[str, Any], **parameters: Any) -> None:
        self.client, self.where = client, where
        self._digest, self._size = hashlib.sha256(), 0
        self._parts: list[dict[str, Any]] = []
        self._part_digests: list[bytes] = []
        begun = client.create_multipart_upload(**where, **parameters)
        self._upload = {**where, "UploadId": begun["UploadId"]}

    def send(self, content: bytes) -> None:
        digest = hashlib.md5(content, usedforsecurity=False).digest()
        number = len(self._parts) + 1
        sent = self.client.upload_part(
            **self._upload,
            PartNumber=number,
            Body=content,
            ContentMD5=base64.b64encode(digest).decode(),
        )
        self._digest.update(content)
        self._size += len(content)
        self._part_digests.append(digest)
        self._parts.append({"PartNumber": number, "ETag": sent["ETag"]})

    def complete(self) -> None:
        """Raises BlobDamaged when the store has another object than was sent."""
        answer = self.client.complete_multipart_upload(
            **self._upload, MultipartUpload={"Parts": self._parts}
        )
        of_parts = b"".join(self._part_digests)
        digest = hashlib.md5(of_parts, usedforsecurity=False).hexdigest()
        if _etag(answer) == f"{digest}-{len(self._parts)}":
            found = self.client.head_object(**self.where)["ContentLength"]
            if found != self._size:
                raise _damaged(self.where, found, self._size)
            return
        _look_at(self.client, self.where, self._size, self._digest.digest())

    def abort(self) -> None:
        # Whatever the store answers, the collector comes again.
        with suppress(Exception):
            self.client.abort_multipart_upload(**self._upload)


def _look_at(client: Any, where: dict[str, Any], size: int, sha256: bytes) -> None:
    """Read the object back: its ETag is no MD5 of what was sent, which some stores and
    encrypted buckets have for a reason, and others for a loss."""
    found = client.get_object(**where)
    digest, length = hashlib.sha256(), 0
    for chunk in found["Body"].iter_chunks(PART_BYTES):
        digest.update(chunk)
        length += len(chunk)
    if length != size or digest.digest() != sha256:
        raise _damaged(where, length, size)


def _damaged(where: dict[str, Any], found: int, sent: int) -> BlobDamaged:
    return BlobDamaged(
        f"{where['Key']}: the object store was sent {sent} bytes and holds {found}, or "
        "others."
    )


def _etag(answer: dict[str, Any]) -> str:
    return str(answer.get("ETag", "")).strip('"')


def _status(error: ClientError) -> int:
    return error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)


def _read_part(content: File) -> bytes:
    """The next part, as long as a part may be unless the content ends."""
    found = bytearray()
    while len(found) < PART_BYTES:
        chunk = content.read(PART_BYTES - len(found))
        if not chunk:
            break
        found += chunk.encode() if isinstance(chunk, str) else chunk
    return bytes(found)


def no_room(where: Path) -> str | None:
    """That the disk has little left, of bytes or of inodes, in a sentence."""
    disk = os.statvfs(where)
    free = disk.f_bavail * disk.f_frsize
    if free < LEAST_FREE_BYTES:
        return f"Only {free >> 20} MiB are free in {where}."
    # Some file systems have as many inodes as they need, and say 0.
    if disk.f_files and disk.f_favail < LEAST_FREE_INODES:
        return f"Only {disk.f_favail} inodes are free in {where}."
    return None


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


def probe() -> None:
    """Put and remove a small blob. Raises what a storage raises that takes nothing."""
    key = f"{PROBES}/{secrets.token_hex(8)}/probe"
    put(key, b"probe")
    left = datetime.now(UTC) - timedelta(hours=1)  # by processes that were killed here
    delete([key, *(e.key for e in walk(f"{PROBES}/") if e.modified_at < left)])


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
    # Every key has to be named as gone: a 200 that says nothing of it says nothing.
    left = set(keys) - {each.get("Key") for each in answer.get("Deleted", [])}
    errors = {each.get("Key"): each for each in answer.get("Errors", [])}
    left -= {key for key, each in errors.items() if each.get("Code") == "NoSuchKey"}
    left |= {key for key, each in errors.items() if each.get("Code") != "NoSuchKey"}
    if left:
        first = min(left, key=str)
        why = errors.get(first, "the object store did not say that it is gone")
        raise OSError(f"{len(left)} blobs could not be removed: {first}: {why}")


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


def trouble() -> str | None:
    """Why blobs cannot be put or read now, in a sentence; None when nothing is known.

    A bucket is asked, with a short timeout and not more often than every few seconds.
    """
    ask = getattr(default_storage, "trouble", None)
    return ask() if ask else None


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
