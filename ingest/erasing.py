"""Erasure of dead letters: the markers of set-aside events hold metadata, too."""

from __future__ import annotations

from inferences.erasure.matching_records import Carried
from ingest.errors import Rejected
from ingest.markers import read_event_of, read_marker
from ingest.models import DeadLetter
from istore import blobs
from istore.blobs import packs
from istore.models import Project


def erase_dead_letters(project: Project, carried: Carried) -> int:
    """Remove the dead letters whose inference carries the value, with their blobs.

    Returns how many were removed.
    """
    rows = DeadLetter.objects.filter(metadata_storage_key__startswith=f"{project.pk}/")
    went = 0
    for row in rows.order_by("pk").iterator(500):
        if _carries(row.metadata_storage_key, carried):
            # The marker goes last: after a crash it still says that the event has the value.
            blobs.delete(_keys_beside(row.metadata_storage_key))
            blobs.delete([row.metadata_storage_key])
            row.delete()
            went += 1
    return went


def _keys_beside(marker: str) -> list[str]:
    """Return the keys of the input and the answer that the marker of this key describes."""
    if packs.is_member(marker):
        event = read_event_of(read_marker(blobs.get(marker)), marker)
        return [event.data_storage_key, event.inference_storage_key]
    folder = marker.rpartition("/")[0]
    return [f"{folder}/{blobs.INPUT}", f"{folder}/{blobs.ANSWER}"]


def _carries(key: str, carried: Carried) -> bool:
    try:
        marker = read_marker(blobs.get(key))
    except (FileNotFoundError, Rejected):
        return False
    if carried.is_source and marker.get("data_source") == carried.value:
        return True
    return carried.is_among(marker.get("metadata"))
