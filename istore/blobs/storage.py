"""The default storage, and what this package asks of it beyond Django's ``Storage``.

``LocalStorage`` and ``S3Storage`` both answer these calls, so no caller asks which one it has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from io import BufferedReader
from typing import IO, Any, Protocol, cast

from django.core.files.base import File
from django.core.files.storage import default_storage

from istore.blobs.stored import Stored


class BlobStorage(Protocol):
    """A storage of blobs. An absent object raises ``FileNotFoundError``."""

    gap_bytes: int  # ranges with at most so much between them are read at once
    can_release: bool  # whether bytes are taken back in place, by ``release``

    def save(self, name: str, content: File[bytes]) -> str: ...
    def open(self, name: str, mode: str = "rb") -> IO[bytes]: ...
    def size(self, name: str) -> int: ...
    def url(self, name: str) -> str: ...
    def upload_url(self, name: str, seconds: int) -> str | None: ...
    def listdir(self, path: str) -> tuple[list[str], list[str]]: ...

    def delete_all(self, names: Iterable[str]) -> None: ...
    def walk(self, prefix: str) -> Iterator[Stored]: ...
    def files_in(self, prefix: str) -> Iterator[Stored]: ...
    def open_uploads(
        self, before: datetime
    ) -> Iterator[tuple[str, Callable[[], Any]]]: ...
    def trouble(self) -> str | None: ...

    def read_range(self, name: str, offset: int, length: int) -> bytes: ...
    def read_tail(self, name: str, length: int) -> tuple[bytes, int]: ...
    def open_range(
        self, name: str, offset: int, length: int, check: Callable[[], None]
    ) -> BufferedReader: ...
    def release(
        self, name: str, leads: Sequence[int], ranges: Sequence[tuple[int, int]]
    ) -> None: ...


storage = cast(BlobStorage, default_storage)
