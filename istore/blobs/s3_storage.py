"""A storage in a bucket of S3 or of a compatible server."""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, suppress
from datetime import datetime
from functools import partial
from http import HTTPStatus
from io import BufferedReader
from itertools import islice
from threading import Lock
from typing import IO, Any

from boto3.exceptions import Boto3Error
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from django.core.files.base import File
from s3transfer.exceptions import RetriesExceededError
from storages.backends.s3 import S3File
from storages.backends.s3 import S3Storage as BotoStorage

from istore.blobs import request_counts
from istore.blobs.errors import BlobDamaged, BlobsLeft, BucketAway
from istore.blobs.keys import probe_key
from istore.blobs.range_file import RangeFile
from istore.blobs.s3_puts import MultipartPut, put_file
from istore.blobs.stored import Stored
from istore.blobs.threads import in_threads

DELETE_AT_ONCE = 1000  # S3's limit of keys in one DeleteObjects request
WORTH_LISTING = 8  # fewer sizes are asked for one by one
LISTED_FOR_EACH = 10  # objects that a listing may show for each that is wanted
CONNECT_SECONDS, READ_SECONDS = 5, 60
CONNECTIONS = 32  # kept open: as many as threads of one process ask at once
CONTENT_RANGE = re.compile(r"bytes ([0-9]+)-([0-9]+)/([0-9]+)")
NO_BUCKET = "does not exist."
ASK_SECONDS = 2  # timeout of the question whether a bucket is there
TROUBLE_SECONDS = 5.0  # for which that answer is cached
VERSIONING_SECONDS = 600.0
OLD_VERSIONS = (
    "The bucket {!r} keeps versions: what is removed goes only if the credentials may list and "
    "delete versions (docs/operations.md)."
)
OLD_VERSIONS_LEFT = "%d removed objects have versions left in the bucket: %s"

logger = logging.getLogger(__name__)

# Options beside those of django-storages, and their defaults.
OPTIONS: dict[str, str | None] = {
    "encryption": None,  # the value of x-amz-server-side-encryption
    "kms_key": None,
    "public_endpoint_url": None,  # the host of signed links; None: that of requests
}


class S3Storage(BotoStorage):
    """A storage in S3 or a compatible server.

    Checksums are sent only where required, because other servers differ there. A status of 200
    is not enough: the ETag of a put must match what was sent, or the object is read back before
    the put returns.

    A name is a storage key. The key of its object is the name below ``location``, the key prefix
    of this installation; nothing outside of this class sees it.
    """

    encryption: str | None
    kms_key: str | None
    public_endpoint_url: str | None

    costs_by_request = True
    can_release = False  # an object is replaced, never changed
    gap_bytes = 256 * 1024  # between two ranges that are read at once

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._prefix = f"{self.location}/" if self.location else ""
        self.client_config = Config(
            s3={"addressing_style": self.addressing_style},
            signature_version=self.signature_version,
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            retries={"max_attempts": 4, "mode": "standard"},
            connect_timeout=CONNECT_SECONDS,
            read_timeout=READ_SECONDS,
            max_pool_connections=CONNECTIONS,
        )
        self._asking = Lock()
        self._answer: tuple[float, str | None] = (0.0, None)
        self._versioning: tuple[float, str | None] = (0.0, None)
        self._signing = Lock()
        self._signer: Any = None
        # One GET for each object: in ranges, a short response could not be told from a whole one.
        self.transfer_config = TransferConfig(
            use_threads=False, multipart_threshold=2**50
        )

    def get_default_settings(self) -> dict[str, Any]:
        options: dict[str, Any] = super().get_default_settings() | OPTIONS
        return options

    @property
    def client(self) -> Any:
        return self.connection.meta.client

    def _create_session(self) -> Any:
        session = super()._create_session()
        session.events.register("before-send.s3", request_counts.count)
        return session

    def _new_client(self, endpoint_url: str | None, **config: Any) -> Any:
        """Return a client of its own, with these options on top of those of all clients."""
        return self._create_session().client(
            "s3",
            region_name=self.region_name,
            endpoint_url=endpoint_url,
            verify=self.verify,
            config=self.client_config.merge(Config(**config)),
        )

    def get_object_parameters(self, name: str) -> dict[str, Any]:
        """Return what each put states: how the object is encrypted."""
        parameters: dict[str, Any] = super().get_object_parameters(name)
        if self.encryption:
            parameters["ServerSideEncryption"] = self.encryption
        if self.kms_key:
            parameters["SSEKMSKeyId"] = self.kms_key
        return parameters

    def _where(self, name: str) -> dict[str, str]:
        return {"Bucket": self.bucket_name, "Key": self._normalize_name(name)}

    def _save(self, name: str, content: File[bytes]) -> str:
        """Put the object, in parts if it is large, and check that the store holds what was sent."""
        where = self._where(name)
        parameters = self._get_write_parameters(where["Key"], content)
        content.seek(0)
        put_file(self.client, where, content, **parameters)
        return name

    def begin_upload(self, name: str) -> MultipartPut:
        """Begin an object that is put part by part."""
        parameters = self.get_object_parameters(name)
        return MultipartPut(self.client, self._where(name), **parameters)

    def url(
        self,
        name: str,
        parameters: dict[str, Any] | None = None,
        expire: int | None = None,
        http_method: str | None = None,
    ) -> str:
        """Return a signed link to the object, at the public endpoint."""
        return self._sign(
            "get_object", name, expire or self.querystring_expire, parameters
        )

    def upload_url(self, name: str, seconds: int) -> str:
        """Return a signed link that takes a PUT of the object for so many seconds.

        It states no encryption, because the sender would have to repeat each signed header.
        """
        return self._sign("put_object", name, seconds)

    def _sign(
        self, call: str, name: str, seconds: int, more: dict[str, Any] | None = None
    ) -> str:
        link: str = self._link_client().generate_presigned_url(
            call, {**self._where(name), **(more or {})}, ExpiresIn=seconds
        )
        return link

    def _link_client(self) -> Any:
        """Return the client that signs links. It sends nothing, so all threads share it."""
        if not self.public_endpoint_url:
            return self.client
        with self._signing:
            if self._signer is None:
                self._signer = self._new_client(self.public_endpoint_url)
            return self._signer

    def _open(self, name: str, mode: str = "rb") -> File[bytes]:
        key = self._normalize_name(name)
        try:
            return CheckedFile(key, mode, self)
        except ClientError as error:
            raise self._missing(error, key) from error

    def size(self, name: str) -> int:
        try:
            length: int = self.bucket.Object(self._normalize_name(name)).content_length
        except ClientError as error:
            raise self._missing(error, name) from error
        return length

    def exists(self, name: str) -> bool:
        try:
            self.size(name)
        except FileNotFoundError:
            return False
        return True

    def read_range(self, name: str, offset: int, length: int) -> bytes:
        """Return this range of an object, by one request. Raises ``BlobDamaged``."""
        if not length:  # a range of no bytes cannot be asked for
            self.size(name)
            return b""
        content, start, _ = self._get_range(name, f"{offset}-{offset + length - 1}")
        if start != offset or len(content) != length:
            raise BlobDamaged(
                f"{name}: {len(content)} bytes came from {start}, "
                f"not {length} from {offset}."
            )
        return content

    def read_spans(self, name: str, spans: Iterable[tuple[int, int]]) -> list[bytes]:
        """Return the bytes of an object between each start and end, by a request for each."""
        return [self.read_range(name, start, end - start) for start, end in spans]

    def read_tail(self, name: str, length: int) -> tuple[bytes, int]:
        """Return the last bytes of an object, at most ``length``, and its size."""
        try:
            content, start, size = self._get_range(name, f"-{length}")
        except BlobDamaged:
            if self.size(name):
                raise
            return b"", 0  # an empty object has no range that could be asked for
        if start != max(0, size - length):
            raise BlobDamaged(f"{name}: its last bytes came from {start} of {size}.")
        return content, size

    def open_range(
        self, name: str, offset: int, length: int, check: Callable[[], None]
    ) -> BufferedReader:
        """Return this range of an object as a file; each block of it is one request."""
        read = partial(self.read_range, name)
        return RangeFile(read, offset, length, check).buffered()

    def _get_range(self, name: str, wanted: str) -> tuple[bytes, int, int]:
        """Return the bytes that a GET of one range brought, where they begin, and the size.

        A status of 206 with a body of another length than it states raises ``BlobDamaged``, and
        so does any other status of success.
        """
        key = self._normalize_name(name)
        try:
            answer = self.client.get_object(
                Bucket=self.bucket_name, Key=key, Range=f"bytes={wanted}"
            )
        except ClientError as error:
            raise self._failed_range(error, key) from error
        with closing(answer["Body"]) as body:
            stated = CONTENT_RANGE.fullmatch(answer.get("ContentRange", ""))
            if _status(answer) != HTTPStatus.PARTIAL_CONTENT or not stated:
                raise BlobDamaged(
                    f"{name}: {_status(answer)} is no answer to a range of it."
                )
            first, last, size = map(int, stated.groups())
            try:
                content = body.read()
            except (BotoCoreError, OSError) as error:
                raise BlobDamaged(f"{name} broke off: {error}") from error
        if len(content) != last - first + 1:
            raise BlobDamaged(f"{name}: {len(content)} bytes came, not {stated[0]}.")
        return content, first, size

    def _failed_range(self, error: ClientError, name: str) -> Exception:
        """Return the exception that a failed GET means; unlike a HEAD it has an error code."""
        code = error.response.get("Error", {}).get("Code")
        if code == "NoSuchKey":
            return FileNotFoundError(f"There is no object {name}.")
        if code == "NoSuchBucket":
            return BucketAway(f"The bucket {self.bucket_name!r} {NO_BUCKET}")
        if code == "InvalidRange":
            return BlobDamaged(f"{name} ends before the range that was asked for.")
        return self._missing(error, name)

    def delete_all(self, names: Iterable[str]) -> None:
        """Delete the objects. Raises ``BlobsLeft`` unless the store says of each that it is gone."""
        keys = [self._normalize_name(name) for name in names]
        starts = range(0, len(keys), DELETE_AT_ONCE)
        left: dict[str, BaseException | str] = {}
        in_threads(
            lambda some: left.update(self._delete_objects(some)),
            [keys[start : start + DELETE_AT_ONCE] for start in starts],
        )
        if left:
            raise BlobsLeft(left)

    def _delete_objects(self, keys: list[str]) -> dict[str, str]:
        """Delete the objects in one request; return the names of those that are left, and why."""
        # The client of the bucket is safe for threads; ``self.client`` is one for each thread.
        answer = self.bucket.meta.client.delete_objects(
            Bucket=self.bucket_name,
            Delete={"Objects": [{"Key": key} for key in keys], "Quiet": False},
        )
        # Each key must be listed as deleted: a 200 alone does not say that a key is gone.
        left = set(keys) - {each.get("Key") for each in answer.get("Deleted", [])}
        errors = {each.get("Key"): each for each in answer.get("Errors", [])}
        left -= {key for key, each in errors.items() if each.get("Code") == "NoSuchKey"}
        left |= {key for key, each in errors.items() if each.get("Code") != "NoSuchKey"}
        if hidden := [
            e["Key"] for e in answer.get("Deleted", []) if e.get("DeleteMarker")
        ]:
            self._versioning = time.monotonic(), OLD_VERSIONS.format(self.bucket_name)
            self._delete_versions(hidden)
        unsaid = "the object store did not say that it is gone"
        return {self._name(key): str(errors.get(key, unsaid)) for key in left}

    def _delete_versions(self, keys: list[str]) -> None:
        """Delete every version of objects that a versioned bucket has only hidden.

        Credentials that may not do so leave the versions, and the log says it.
        """
        try:
            self._delete_these([each for key in keys for each in self._versions(key)])
        except ClientError as error:
            logger.error(OLD_VERSIONS_LEFT, len(keys), error)

    def delete_replaced(self, name: str) -> int:
        """Delete the versions of an object that later puts replaced; return how many are left.

        Where the credentials may not ask, that counts as one.
        """
        if self.old_versions() is None:
            return 0
        key = self._normalize_name(name)
        try:
            self._delete_these(list(self._versions(key, only_replaced=True)))
            return sum(1 for _ in self._versions(key, only_replaced=True))
        except ClientError as error:
            logger.error(OLD_VERSIONS_LEFT, 1, error)
            return 1

    def _delete_these(self, versions: list[dict[str, str]]) -> None:
        for start in range(0, len(versions), DELETE_AT_ONCE):
            answer = self.bucket.meta.client.delete_objects(
                Bucket=self.bucket_name,
                Delete={"Objects": versions[start : start + DELETE_AT_ONCE]},
            )
            if errors := answer.get("Errors"):
                logger.error(OLD_VERSIONS_LEFT, len(errors), errors[0])

    def _versions(
        self, key: str, *, only_replaced: bool = False
    ) -> Iterator[dict[str, str]]:
        """Yield key and id of each version, and delete marker, of one object."""
        pages = self.bucket.meta.client.get_paginator("list_object_versions")
        for page in pages.paginate(Bucket=self.bucket_name, Prefix=key):
            for each in (*page.get("Versions", ()), *page.get("DeleteMarkers", ())):
                if each["Key"] == key and not (only_replaced and each["IsLatest"]):
                    yield {"Key": key, "VersionId": each["VersionId"]}

    def old_versions(self) -> str | None:
        """Return what it means, as a sentence, if the bucket keeps versions of deleted objects.

        Credentials that may not ask get None, until a delete shows that versions are kept. The
        answer is cached for ``VERSIONING_SECONDS``.
        """
        asked_at, answer = self._versioning
        if not asked_at or time.monotonic() - asked_at > VERSIONING_SECONDS:
            with suppress(ClientError, BotoCoreError, OSError):
                found = self._asking_client().get_bucket_versioning(
                    Bucket=self.bucket_name
                )
                status = found.get("Status")
                answer = OLD_VERSIONS.format(self.bucket_name) if status else None
            self._versioning = time.monotonic(), answer
        return answer

    def count_old_versions(self, names: Iterable[str]) -> int:
        """Return how many of these objects, which were deleted, have versions left.

        Where the credentials may not ask, each of them counts.
        """
        if self.old_versions() is None:
            return 0
        left = 0
        for name in names:
            try:
                left += any(True for _ in self._versions(self._normalize_name(name)))
            except ClientError:
                left += 1
        return left

    def walk(self, prefix: str) -> Iterator[Stored]:
        """Yield every object below a prefix, in the order of keys."""
        return self._list(prefix)

    def files_in(self, prefix: str) -> Iterator[Stored]:
        """Yield the objects directly below a prefix, in the order of keys."""
        return self._list(prefix, Delimiter="/")

    def listed_sizes(self, names: Iterable[str]) -> dict[str, int]:
        """Return the sizes of those of the objects that a short listing shows.

        The names of a batch of records lie close together, so a thousand of them are found by one
        request. Where they do not, the listing is given up.
        """
        by_hour: dict[str, list[str]] = {}
        for name in sorted(names):
            hour = name.rsplit("/", 2)[0] + "/"
            by_hour.setdefault(hour, []).append(name)
        sizes: dict[str, int] = {}
        for hour, wanted in by_hour.items():
            if len(wanted) < WORTH_LISTING:
                continue
            most = LISTED_FOR_EACH * len(wanted)
            before = self._prefix + wanted[0][:-1]
            for each in islice(self._list(hour, Marker=before), most):
                if each.key > wanted[-1]:
                    break
                sizes[each.key] = each.size
        return sizes

    def _list(self, prefix: str, **more: str) -> Iterator[Stored]:
        for each in self.bucket.objects.filter(Prefix=self._prefix + prefix, **more):
            yield Stored(self._name(each.key), each.size, each.last_modified)

    def _name(self, key: str) -> str:
        return key.removeprefix(self._prefix)

    def open_uploads(self, before: datetime) -> Iterator[tuple[str, Callable[[], Any]]]:
        """Yield the key of each incomplete upload begun before, and what aborts it."""
        for upload in self.bucket.multipart_uploads.filter(Prefix=self._prefix):
            if upload.initiated < before:
                yield self._name(upload.object_key), upload.abort

    def _missing(self, error: ClientError, name: str) -> Exception:
        """Return the exception that a failed HEAD means.

        A HEAD has no body, and a missing bucket is a 404, too; so the bucket is asked.
        """
        if _status(error.response) != 404:
            unexpected: Exception = error
            return unexpected
        reason = self.trouble()
        if reason and reason.endswith(NO_BUCKET):
            return BucketAway(reason)
        return FileNotFoundError(f"There is no object {name}.")

    def trouble(self) -> str | None:
        """Return why the bucket cannot be used, as a sentence, or None.

        The result is cached for ``TROUBLE_SECONDS``.
        """
        with self._asking:  # one thread asks, the others wait for its answer
            asked_at, answer = self._answer
            if not asked_at or time.monotonic() - asked_at > TROUBLE_SECONDS:
                answer = self._ask_bucket()
                self._answer = time.monotonic(), answer
        return answer

    def _ask_bucket(self) -> str | None:
        client = self._asking_client()
        name = f"The bucket {self.bucket_name!r}"
        try:
            client.head_bucket(Bucket=self.bucket_name)
        except ClientError as error:
            status = _status(error.response)
            if status == 404:
                return f"{name} {NO_BUCKET}"
            if status in (401, 403):
                return self._refused(client, name)
            return f"{name} answers {status}."
        except (BotoCoreError, OSError) as error:
            return f"{name} does not answer: {type(error).__name__}."
        return None

    def make_bucket(self) -> None:
        """Create the bucket unless it is there. Raises ``BotoCoreError`` or ``ClientError``."""
        try:
            self.client.head_bucket(Bucket=self.bucket_name)
            return
        except ClientError as error:
            if _status(error.response) != 404:
                raise
        options: dict[str, Any] = {"Bucket": self.bucket_name}
        # AWS takes the constraint outside of its first region alone; others ignore it.
        if self.region_name and self.region_name != "us-east-1":
            where = {"LocationConstraint": self.region_name}
            options["CreateBucketConfiguration"] = where
        with suppress(self.client.exceptions.BucketAlreadyOwnedByYou):
            self.client.create_bucket(**options)

    def _asking_client(self) -> Any:
        """Return a client that gives up soon."""
        return self._new_client(
            self.endpoint_url,
            connect_timeout=ASK_SECONDS,
            read_timeout=ASK_SECONDS,
            retries={"max_attempts": 1, "mode": "standard"},
        )

    def _refused(self, client: Any, name: str) -> str | None:
        """Return why the credentials cannot write, or None if only HEAD on the bucket is refused.

        A policy may forbid HEAD on the bucket and still allow puts, so a probe is put and deleted.
        """
        probe = self._where(probe_key())
        try:
            client.put_object(
                **probe, Body=b"probe", **self.get_object_parameters(probe["Key"])
            )
            client.delete_object(**probe)
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code", _status(error.response))
            return f"{name} refuses these credentials: {code}."
        except (BotoCoreError, OSError) as error:
            return f"{name} does not answer: {type(error).__name__}."
        return None


class CheckedFile(S3File):
    """A file of S3 whose length must equal the one of its HEAD; else reading it raises."""

    _file: IO[bytes] | None

    def _get_file(self) -> IO[bytes]:
        is_fresh = self._file is None
        try:
            file: IO[bytes] = super()._get_file()
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


def _status(answer: dict[str, Any]) -> int:
    return int(answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
