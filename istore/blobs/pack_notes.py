"""Notes of released members, where an object store holds the packs.

An object there cannot be changed, only replaced. So a release is noted first, in the database,
and the pack is rewritten without the member afterwards. Readers heed the notes. On disk there
are none: a released member is zeros.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from django.apps import apps
from django.db.models import QuerySet
from django.db.models.functions import Now

from istore.blobs.keys import MemberKey
from istore.blobs.storage import storage
from istore.db.threads import connection_as_found


def are_kept() -> bool:
    """Return whether releases are noted: where packs cannot be changed in place."""
    return not storage.can_release


def note(members: Iterable[MemberKey]) -> None:
    """Note that these members are released; a repeat changes nothing."""
    model = apps.get_model("istore", "ReleasedMember")
    with connection_as_found():
        model.objects.bulk_create(
            (
                model(
                    pack_key=each.pack,
                    offset=each.offset,
                    length=each.length,
                    released_at=Now(),
                )
                for each in members
            ),
            ignore_conflicts=True,
        )


def released_in(pack: str) -> set[int]:
    """Return the offsets of the ranges of a pack that are noted as released."""
    return {offset for _, offset in released_among([pack])}


def released_among(packs: Iterable[str]) -> set[tuple[str, int]]:
    """Return pack and offset of each range of these packs that is noted as released."""
    if not are_kept():
        return set()
    rows = _rows().filter(pack_key__in=list(packs))
    with connection_as_found():
        return set(rows.values_list("pack_key", "offset"))


def packs_with_notes(
    below: str = "", before: datetime | None = None, since: datetime | None = None
) -> list[str]:
    """Return the packs below a prefix with a release, of before or since a moment if given."""
    rows = _rows().filter(pack_key__startswith=below)
    if before is not None:
        rows = rows.filter(released_at__lt=before)
    if since is not None:
        rows = rows.filter(released_at__gte=since)
    return sorted(rows.values_list("pack_key", flat=True).distinct())


def those_with_notes(packs: Iterable[str]) -> list[str]:
    """Return those of the packs that have a release."""
    if not are_kept():
        return []
    rows = _rows().filter(pack_key__in=list(packs))
    return sorted(rows.values_list("pack_key", flat=True).distinct())


def forget(pack: str) -> None:
    """Delete the notes of a pack that is gone."""
    _rows().filter(pack_key=pack).delete()


def _rows() -> QuerySet[Any]:
    # By name: processes import this package before Django is set up.
    return apps.get_model("istore", "ReleasedMember").objects.all()
