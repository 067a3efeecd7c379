"""Puts of objects to S3 that return only when the store holds what was sent."""

from __future__ import annotations

import base64
import hashlib
from contextlib import suppress
from typing import Any

from django.conf import settings
from django.core.files.base import File

from istore.blobs.errors import BlobDamaged

KMS = "aws:kms"  # and "aws:kms:dsse": ETags are no MD5 then


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
    sent = _checks(content, digest.digest(), parameters)
    answer = client.put_object(**where, **parameters, Body=content, **sent)
    if _etag(answer) == digest.hexdigest() or _repeats_checksum(answer, sent):
        return
    _look_at(client, where, len(content), hashlib.sha256(content).digest(), answer)


class MultipartPut:
    """A multipart upload. Nothing is visible under its key before ``complete`` returned."""

    def __init__(self, client: Any, where: dict[str, Any], **parameters: Any) -> None:
        self.client, self.where = client, where
        self._digest, self._size = hashlib.sha256(), 0
        self._parts: list[dict[str, Any]] = []
        self._part_digests: list[bytes] = []
        self._parameters = parameters
        summed = {"ChecksumAlgorithm": "SHA256"} if _uses_kms(parameters) else {}
        begun = client.create_multipart_upload(**where, **parameters, **summed)
        self._upload = {**where, "UploadId": begun["UploadId"]}

    def send(self, content: bytes) -> None:
        """Upload the next part. Raises ``BlobDamaged`` if the store does not name it."""
        digest = hashlib.md5(content, usedforsecurity=False).digest()
        number = len(self._parts) + 1
        sent = _checks(content, digest, self._parameters)
        answer = self.client.upload_part(
            **self._upload, PartNumber=number, Body=content, **sent
        )
        if "ETag" not in answer:
            raise BlobDamaged(f"{self._upload['Key']}: part {number} has no ETag.")
        self._digest.update(content)
        self._size += len(content)
        self._part_digests.append(digest)
        part = {"PartNumber": number, "ETag": answer["ETag"]}
        if _repeats_checksum(answer, sent):
            part["ChecksumSHA256"] = answer["ChecksumSHA256"]
        self._parts.append(part)

    def complete(self) -> None:
        """Complete the upload. Raises ``BlobDamaged`` if the store holds other content."""
        answer = self.client.complete_multipart_upload(
            **self._upload, MultipartUpload={"Parts": self._parts}
        )
        of_parts = b"".join(self._part_digests)
        digest = hashlib.md5(of_parts, usedforsecurity=False).hexdigest()
        if _etag(answer) == f"{digest}-{len(self._parts)}":
            _look_at_size(self.client, self.where, self._size)
            return
        sha256 = self._digest.digest()
        _look_at(self.client, self.where, self._size, sha256, answer)

    def abort(self) -> None:
        """Abort the upload, and ignore errors."""
        # Errors are ignored: the collector aborts what is left (``open_uploads``).
        with suppress(Exception):
            self.client.abort_multipart_upload(**self._upload)


def _uses_kms(stated: dict[str, Any]) -> bool:
    return str(stated.get("ServerSideEncryption", "")).startswith(KMS)


def _checks(content: bytes, md5: bytes, parameters: dict[str, Any]) -> dict[str, Any]:
    """Return the checksums to send: a store that checks them refuses other content.

    Under KMS it is asked to repeat a SHA-256, because the ETag says nothing then. Otherwise none
    is sent: not every server knows it.
    """
    checks = {"ContentMD5": base64.b64encode(md5).decode()}
    if _uses_kms(parameters):
        sha256 = hashlib.sha256(content).digest()
        checks["ChecksumSHA256"] = base64.b64encode(sha256).decode()
        checks["ChecksumAlgorithm"] = "SHA256"
    return checks


def _repeats_checksum(answer: dict[str, Any], sent: dict[str, Any]) -> bool:
    asked = sent.get("ChecksumSHA256")
    return asked is not None and answer.get("ChecksumSHA256") == asked


def _look_at(
    client: Any,
    where: dict[str, Any],
    size: int,
    sha256: bytes,
    answer: dict[str, Any],
) -> None:
    """Look whether the object is what was sent. Raises ``BlobDamaged``.

    It is called when the ETag is not the MD5 of what was sent. Where the answer says that the
    object is encrypted by KMS that is the reason, and its size is looked at: the store had the
    MD5 to check what came. Otherwise the object is read back and its SHA-256 compared, because
    it may be damaged.
    """
    if _uses_kms(answer):
        _look_at_size(client, where, size)
        return
    found = client.get_object(**where)
    digest, length = hashlib.sha256(), 0
    for chunk in found["Body"].iter_chunks(settings.ISTORE_MULTIPART_BYTES):
        digest.update(chunk)
        length += len(chunk)
    if length != size or digest.digest() != sha256:
        raise _damaged(where, length, size)


def _look_at_size(client: Any, where: dict[str, Any], size: int) -> None:
    found = client.head_object(**where)["ContentLength"]
    if found != size:
        raise _damaged(where, found, size)


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
