"""What lies in the blob store of a test, the same for files on a disk and for objects in a bucket.

A test that ages, lists, damages or takes away objects asks this, and so runs on both.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from django.core.files.storage import default_storage

from istore import blobs
from istore.blobs.s3_storage import S3Storage
from istore.blobs.stored import Stored


class StoredObjects:
    """The objects of the default storage, by their keys."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, scratch: Path) -> None:
        self._scratch = scratch
        self._aged: dict[Stored, datetime] = {}
        if self._is_on_disk:
            return
        # A bucket lets nobody change the time of an object, so the listing tells another.
        listed = S3Storage._list

        def list_aged(storage, prefix: str, **more: str) -> Iterator[Stored]:
            for each in listed(storage, prefix, **more):
                yield replace(each, modified_at=self._aged.get(each, each.modified_at))

        monkeypatch.setattr(S3Storage, "_list", list_aged)

    @property
    def _is_on_disk(self) -> bool:
        return not blobs.costs_by_request()

    def keys(self, prefix: str = "") -> list[str]:
        """Return the keys of all objects below a prefix that ends with a slash."""
        return sorted(each.key for each in blobs.walk(prefix))

    def contents(self, prefix: str = "") -> dict[str, bytes]:
        """Return what the objects below a prefix hold, byte for byte."""
        return {key: self.read(key) for key in self.keys(prefix)}

    def read(self, key: str) -> bytes:
        return blobs.get(key)

    def write(self, key: str, content: bytes) -> None:
        """Put an object, or other bytes in place of one."""
        blobs.put(key, content)

    def remove(self, key: str) -> None:
        blobs.delete([key])

    def age(self, hours: float = 30) -> None:
        """Make every object that is there now so old."""
        then = datetime.now(UTC) - timedelta(hours=hours)
        for each in list(blobs.walk()):
            if self._is_on_disk:
                os.utime(default_storage.path(each.key), (then.timestamp(),) * 2)
            else:
                self._aged[each] = then

    def folder(self, prefix: str) -> Path:
        """Return a directory with the objects below a prefix, for what reads files.

        It is a copy: changes in it do not reach the store.
        """
        copy = Path(tempfile.mkdtemp(dir=self._scratch))
        for key, content in self.contents(prefix).items():
            path = copy / key.removeprefix(prefix)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        return copy
