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

from istore.db.threads import connection_as_found

# No reader holds a key for longer than it reads a batch of rows, but a link that it signs does.
KEPT = timedelta(minutes=15)


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


def moved_among(keys: Iterable[str]) -> set[str]:
    """Return those of the keys whose blobs were moved lately."""
    return set(_rows().filter(old_key__in=list(keys)).values_list("old_key", flat=True))


def forget_old(at: datetime) -> int:
    """Delete the notes that nobody needs any more, and return how many there were."""
    links = timedelta(seconds=settings.ISTORE_PRESIGN_SECONDS)
    return _rows().filter(moved_at__lt=at - KEPT - links).delete()[0]


def _rows() -> QuerySet[Any]:
    # By name: processes import this package before Django is set up.
    return apps.get_model("istore", "MovedBlob").objects.all()
