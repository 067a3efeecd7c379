"""The default storage, and what this package asks of it beyond Django's ``Storage``.

``LocalStorage`` and ``S3Storage`` both answer these calls, so no caller asks which one it has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import IO, Any, Protocol, cast

from django.core.files.base import File
from django.core.files.storage import default_storage

from istore.blobs.stored import Stored


class BlobStorage(Protocol):
    """A storage of blobs. An absent object raises ``FileNotFoundError``."""

    def save(self, name: str, content: File[bytes]) -> str: ...
    def open(self, name: str, mode: str = "rb") -> IO[bytes]: ...
    def size(self, name: str) -> int: ...
    def url(self, name: str) -> str: ...
    def listdir(self, path: str) -> tuple[list[str], list[str]]: ...

    def delete_all(self, names: Iterable[str]) -> None: ...
    def walk(self, prefix: str) -> Iterator[Stored]: ...
    def open_uploads(
        self, before: datetime
    ) -> Iterator[tuple[str, Callable[[], Any]]]: ...
    def trouble(self) -> str | None: ...


storage = cast(BlobStorage, default_storage)
