"""Destinations of scheduled exports: the default store, or a bucket by its name.

Buckets and their credentials are settings of the installation. A schedule names one of them
and a prefix in it, so no row holds a secret.
"""

from __future__ import annotations

import re
from typing import IO, Any

from django.conf import settings
from django.core.files.base import File
from django.core.files.storage import default_storage, storages
from django.core.files.storage.handler import InvalidStorageError
from django.utils.functional import cached_property

from exports.schedules.models import ExportedFile
from istore import blobs

DEFAULT = ""
DEFAULT_NAME = "the default store"
ROOT = "scheduled"  # in the default store: beside blobs, whose keys begin with a number
PART = re.compile(r"[A-Za-z0-9_.-]{1,100}")
PREFIX_MAX_CHARS = 300
CONTENT_TYPE = "application/vnd.apache.parquet"


def names() -> list[str]:
    """Return the names of the buckets that schedules may use."""
    return sorted(settings.ISTORE_EXPORT_DESTINATIONS)


def title(name: str) -> str:
    """Return the name of a destination as people see it."""
    return name or DEFAULT_NAME


def check_prefix(prefix: str) -> None:
    """Raise ``ValueError`` unless the prefix is a plain path; ``model=…`` folders are ours."""
    parts = prefix.split("/") if prefix else []
    if len(prefix) > PREFIX_MAX_CHARS:
        raise ValueError(f"More than {PREFIX_MAX_CHARS} characters.")
    for part in parts:
        if not PART.fullmatch(part) or not part.strip("."):
            raise ValueError(
                "Folders of letters, digits, '.', '_' and '-', parted by '/'."
            )


class Destination:
    """One destination, by the name that a schedule stores. Raises ``Unknown``."""

    def __init__(self, name: str) -> None:
        if name and name not in settings.ISTORE_EXPORT_DESTINATIONS:
            raise Unknown(f"{name} is no destination of this installation any more.")
        self.name = name

    @cached_property
    def storage(self) -> Any:
        """Django's storage of the destination. Raises ``Unknown``."""
        if not self.name:
            return default_storage
        try:
            return storages[alias(self.name)]
        except InvalidStorageError as error:
            raise Unknown(f"{self.name}: {error}") from None

    def key(self, *parts: str) -> str:
        """Return the key of this path; in the default store it is below a root of its own."""
        base = settings.ISTORE_EXPORT_DESTINATIONS[self.name] if self.name else ROOT
        return "/".join(part for part in (base, *parts) if part)

    def put(self, key: str, file: IO[bytes]) -> None:
        """Store the file whole or not at all; it replaces a file of this key."""
        content = File(file, name=key)
        content.content_type = CONTENT_TYPE  # type: ignore[attr-defined]  # S3's storage reads it
        file.seek(0)
        self.storage.save(key, content)

    def remove(self, key: str) -> None:
        """Delete the object. A missing object counts as deleted."""
        self.storage.delete(key)

    def open(self, key: str) -> IO[bytes]:
        """Return the object, opened to be read. Raises ``FileNotFoundError``."""
        found: IO[bytes] = self.storage.open(key)
        return found

    def erase(self, key: str) -> int:
        """Delete the object with all its versions; return how many objects have versions left."""
        self.storage.delete_all([key])
        left: int = self.storage.count_old_versions([key])
        return left

    def forget_replaced(self, key: str) -> int:
        """Delete the versions that the object replaced; return how many are left."""
        left: int = self.storage.delete_replaced(key)
        return left

    def holds_anything(self, prefix: str) -> bool:
        """Return whether any object lies below the prefix."""
        return next(self.storage.walk(f"{prefix}/"), None) is not None


def link_to(file: ExportedFile) -> str | None:
    """Return a temporary link to a file in the default store; None for other buckets."""
    if file.schedule.destination:
        return None
    return blobs.presigned_url(file.key)


class Unknown(Exception):
    """The installation has no destination of this name."""


def alias(name: str) -> str:
    """Return the name of a destination in Django's ``STORAGES``."""
    return f"export:{name}"
