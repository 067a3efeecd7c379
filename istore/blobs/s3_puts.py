"""Puts of objects to S3 that return only when the store holds what was sent."""

from __future__ import annotations

import base64
import hashlib
from contextlib import suppress
from typing import Any

from django.conf import settings
from django.core.files.base import File

from istore.blobs.errors import BlobDamaged


def put_file(
    client: Any, where: dict[str, Any], content: File[bytes], **parameters: Any
) -> None:
    """Put the rest of a file as one object, in parts if it is large."""
    part = _read_part(content)
    if len(part) < settings.ISTORE_MULTIPART_BYTES:
        put_object(client, where, part, **parameters)
        return
    upload = MultipartPut(client, where, **parameters)
    try:
        while part:
            upload.send(part)
            part = _read_part(content)
        upload.complete()
    except BaseException:
        upload.abort()
        raise


def put_object(
    client: Any, where: dict[str, Any], content: bytes, **parameters: Any
) -> None:
    """Put one object. Raises ``BlobDamaged`` if the store holds other content."""
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
    """A multipart upload. Nothing is visible under its key before ``complete`` returned."""

    def __init__(self, client: Any, where: dict[str, Any], **parameters: Any) -> None:
        self.client, self.where = client, where
        self._digest, self._size = hashlib.sha256(), 0
        self._parts: list[dict[str, Any]] = []
        self._part_digests: list[bytes] = []
        begun = client.create_multipart_upload(**where, **parameters)
        self._upload = {**where, "UploadId": begun["UploadId"]}

    def send(self, content: bytes) -> None:
        """Upload the next part. Raises ``BlobDamaged`` if the store does not name it."""
        digest = hashlib.md5(content, usedforsecurity=False).digest()
        number = len(self._parts) + 1
        sent = self.client.upload_part(
            **self._upload,
            PartNumber=number,
            Body=content,
            ContentMD5=base64.b64encode(digest).decode(),
        )
        if "ETag" not in sent:
            raise BlobDamaged(f"{self._upload['Key']}: part {number} has no ETag.")
        self._digest.update(content)
        self._size += len(content)
        self._part_digests.append(digest)
        self._parts.append({"PartNumber": number, "ETag": sent["ETag"]})

    def complete(self) -> None:
        """Complete the upload. Raises ``BlobDamaged`` if the store holds other content."""
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
        """Abort the upload, and ignore errors."""
        # Errors are ignored: the collector aborts what is left (``open_uploads``).
        with suppress(Exception):
            self.client.abort_multipart_upload(**self._upload)


def _look_at(client: Any, where: dict[str, Any], size: int, sha256: bytes) -> None:
    """Read the object back and compare its SHA-256. Raises ``BlobDamaged``.

    It is called when the ETag is not the MD5 of what was sent. Some stores and encrypted buckets
    have a reason for that; in others the object is damaged.
    """
    found = client.get_object(**where)
    digest, length = hashlib.sha256(), 0
    for chunk in found["Body"].iter_chunks(settings.ISTORE_MULTIPART_BYTES):
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


def _read_part(content: File[bytes]) -> bytes:
    """Return the next part of the content: ``ISTORE_MULTIPART_BYTES``, or fewer at its end."""
    found, size = bytearray(), settings.ISTORE_MULTIPART_BYTES
    while len(found) < size:
        chunk = content.read(size - len(found))
        if not chunk:
            break
        found += chunk.encode() if isinstance(chunk, str) else chunk
    return bytes(found)
