"""Uploads: a caller may put one object to a staging key, before it belongs to an inference.

The row of the grant is committed before its link is signed. The link names a staging key. A
create copies the object to a key of its own and binds the grant in the transaction of the
record; only that acknowledges the upload. Grants that expire unbound are deleted with their
objects.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import IO
from urllib.parse import urlencode

from django.conf import settings
from django.core import signing
from django.core.files.base import File
from django.core.files.storage import default_storage
from django.db.models.functions import Now

from inferences.models import RegisteredModel, UploadGrant
from istore import blobs
from istore.blobs.durable_files import new_file
from istore.blobs.storage import storage
from istore.db import clock
from istore.errors import (
    BadInput,
    Conflict,
    Forbidden,
    Gone,
    RateLimited,
    StoreError,
    TooLarge,
)
from istore.uuids import uuid7

SALT = "inferences.store.uploads"
CHUNK = 1024 * 1024
SNIFFED = 4096  # bytes of the beginning, from which the content type is guessed
DATA, METADATA = "input", "metadata"


@dataclass(frozen=True, slots=True)
class Upload:
    """A granted upload: the URL to PUT to, and the storage key to name when creating."""

    url: str
    storage_key: str


def grant(actor: object, model: RegisteredModel, kind: str) -> Upload:
    """Return a new upload for one object of the model.

    Raises ``RateLimited`` when ``ISTORE_UPLOAD_GRANTS_OPEN`` of the model are open.
    """
    open_ones = model.upload_grants.filter(bound_at=None, expires_at__gt=Now())
    if open_ones.count() >= settings.ISTORE_UPLOAD_GRANTS_OPEN:
        message = "Too many uploads of this model are open."
        raise RateLimited("rate-limited", message, retry_after=60)
    hours = settings.ISTORE_UPLOAD_GRANT_HOURS
    row = model.upload_grants.create(
        kind=kind,
        storage_key=f"uploads/{model.project_id}/{model.pk}/{uuid7()}/{kind}",
        maximum_size=settings.ISTORE_UPLOAD_MAX_BYTES,
        granted_to=str(actor)[:300],
        expires_at=clock.now() + timedelta(hours=hours),
    )
    return Upload(_link(row), row.storage_key)


def _link(row: UploadGrant) -> str:
    """Return the signed URL: of the object store if it is S3, else one of this server."""
    seconds = settings.ISTORE_UPLOAD_GRANT_HOURS * 3600
    if link := storage.upload_url(row.storage_key, seconds):
        return link
    signer = signing.TimestampSigner(key=settings.ISTORE_SIGNING_KEY, salt=SALT)
    query = urlencode({"signature": signer.sign_object([row.pk, row.storage_key])})
    return f"{settings.ISTORE_URL}/uploads?{query}"


def granted_by(signature: str) -> UploadGrant:
    """Return the open grant of a link of this server. Raises ``Forbidden`` for a forged one."""
    signer = signing.TimestampSigner(key=settings.ISTORE_SIGNING_KEY, salt=SALT)
    try:
        key, storage_key = signer.unsign_object(signature)
    except (signing.BadSignature, ValueError):
        message = "This link was not made here."
        raise Forbidden("signature-invalid", message) from None
    return _open_grant(
        UploadGrant.objects.filter(pk=key, storage_key=storage_key).first()
    )


def _open_grant(row: UploadGrant | None) -> UploadGrant:
    """Return the grant if it is open; raise ``StoreError`` otherwise."""
    if row is None:
        raise BadInput("unknown-upload", "There is no such upload.")
    if row.bound_at:
        raise Conflict(
            "upload-already-bound", "This upload belongs to an inference already."
        )
    if row.expires_at <= clock.now():
        raise Gone("upload-expired", "This upload has expired.")
    return row


def receive(
    row: UploadGrant, read: Callable[[int], bytes], stated_size: int | None
) -> int:
    """Stage the body of a request, whole or not at all; return its size in bytes.

    Raises ``TooLarge`` when it is larger than granted, and ``BadInput`` when it ends too early.
    """
    if stated_size is not None and stated_size > row.maximum_size:
        raise _too_large(row)
    path = Path(default_storage.path(row.storage_key))
    size = 0
    with new_file(path, with_directory=True) as file:
        for chunk in iter(lambda: read(CHUNK), b""):
            size += len(chunk)
            if size > row.maximum_size:
                raise _too_large(row)
            file.write(chunk)
        if stated_size is not None and size != stated_size:
            raise BadInput("size-mismatch", "The body ended before its length.")
    return size


def _too_large(row: UploadGrant) -> StoreError:
    return TooLarge(
        "body-too-large", f"An upload has at most {row.maximum_size} bytes."
    )


@dataclass(frozen=True, slots=True)
class Staged:
    """An uploaded object that was copied to its final key."""

    grant: UploadGrant
    storage_key: str
    sha256: bytes
    size: int
    beginning: bytes

    def bind(self) -> None:
        """Bind the grant. Call it in the transaction of the record.

        Raises ``Conflict`` when another record has bound it before.
        """
        # This conditional UPDATE decides between two creates that name the same upload.
        free = UploadGrant.objects.filter(pk=self.grant.pk, bound_at=None)
        if not free.update(bound_at=Now()):
            message = "This upload belongs to an inference already."
            raise Conflict("upload-already-bound", message)


def read_upload(model: RegisteredModel, storage_key: str, kind: str) -> bytes:
    """Return the content uploaded under the key; raise ``TooLarge`` above the API's limit."""
    row = find(model, storage_key, kind)
    try:
        if blobs.size(row.storage_key) > settings.ISTORE_API_MAX_BODY_BYTES:
            raise TooLarge("body-too-large", "The uploaded metadata is too large.")
        return blobs.get(row.storage_key)
    except FileNotFoundError:
        raise _incomplete() from None


def find(model: RegisteredModel, storage_key: str, kind: str) -> UploadGrant:
    """Return the open grant of the storage key. Raises ``StoreError`` if there is none."""
    rows = UploadGrant.objects.filter(registered_model=model, kind=kind)
    return _open_grant(rows.filter(storage_key=storage_key).first())


class _Hashed(File):  # type: ignore[type-arg]  # it is not generic at run time
    """A file that hashes and counts what is read of it, and keeps the beginning."""

    file: IO[bytes]

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__(file)
        self.seek(0)

    def seek(self, position: int, whence: int = 0) -> int:
        # Storages only ever seek to the start, before they read.
        self.digest, self.length, self.beginning = hashlib.sha256(), 0, b""
        return self.file.seek(position, whence)

    def read(self, size: int = -1) -> bytes:
        chunk = self.file.read(size)
        self.digest.update(chunk)
        self.beginning = self.beginning or chunk[:SNIFFED]
        self.length += len(chunk)
        return chunk


def settle(row: UploadGrant, key: str) -> Staged:
    """Copy the staged object to its final key.

    The hash is that of the bytes that were copied. Raises ``Conflict`` when nothing was uploaded,
    and ``BadInput`` when the object is empty.
    """
    try:
        source = blobs.open_blob(row.storage_key)
    except FileNotFoundError:
        raise _incomplete() from None
    with source:
        content = _Hashed(source)
        default_storage.save(key, content)
    staged = Staged(
        row, key, content.digest.digest(), content.length, content.beginning
    )
    if not staged.size:
        blobs.delete([key])
        raise BadInput("empty-upload", "What was uploaded is empty.")
    return staged


def _incomplete() -> Conflict:
    return Conflict("upload-incomplete", "Nothing was uploaded there yet.")
