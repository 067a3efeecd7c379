"""Notes of blobs that were moved into a pack, or into another one.

A reader may have read a row just before the row was pointed at the new place, and open the blob
just after the old one was deleted. So the move is noted in the transaction that changes the
row, and whoever finds nothing under a key looks here before it says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from django.apps import apps
from django.conf import settings
from django.db.models import QuerySet
from django.db.models.functions import Now

from istore.db.advisory_lock import AdvisoryLock
from istore.db.threads import connection_as_found

# No reader holds a key for longer than it reads a batch of rows, but a link that it signs does.
KEPT = timedelta(minutes=15)
# Held while a backup is made. Its database dump is older than its blobs, so it needs every note
# since the dump.
BACKUP_LOCK = AdvisoryLock("istore.backup")


def note(moved: Mapping[str, str]) -> None:
    """Note the new keys by the old ones. Call it in the transaction that changes the rows."""
    model = apps.get_model("istore", "MovedBlob")
    model.objects.bulk_create(
        (
            model(old_key=old, new_key=new, moved_at=Now())
            for old, new in moved.items()
            if old != new
        ),
        ignore_conflicts=True,
    )


def new_key_of(key: str) -> str | None:
    """Return where the blob of this key went lately; None if it was not moved."""
    rows = _rows().filter(old_key=key)
    with connection_as_found():  # threads that only read blobs have none
        return rows.values_list("new_key", flat=True).first()


def new_keys_of(keys: Iterable[str]) -> dict[str, str]:
    """Return where the blobs of these keys went, by old key, for those that were moved lately."""
    rows = _rows().filter(old_key__in=list(keys))
    return dict(rows.values_list("old_key", "new_key"))


def moved_among(keys: Iterable[str]) -> set[str]:
    """Return those of the keys whose blobs were moved lately."""
    return set(new_keys_of(keys))


def forget_old(at: datetime) -> int:
    """Delete the notes that nobody needs any more, and return how many there were.

    None is deleted while a backup is made.
    """
    links = timedelta(seconds=settings.ISTORE_PRESIGN_SECONDS)
    with BACKUP_LOCK.try_hold() as is_free:
        if not is_free:
            return 0
        return _rows().filter(moved_at__lt=at - KEPT - links).delete()[0]


def since(at: datetime) -> QuerySet[Any]:
    """Return the old and the new key of each blob that was moved since a time."""
    return _rows().filter(moved_at__gte=at).values_list("old_key", "new_key")


def _rows() -> QuerySet[Any]:
    # By name: processes import this package before Django is set up.
    return apps.get_model("istore", "MovedBlob").objects.all()
