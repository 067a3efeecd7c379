"""Erasure of dead letters: the markers of set-aside events hold metadata, too."""

from __future__ import annotations

from inferences.erasure.matching_records import Carried
from inferences.models import RegisteredModel
from ingest.errors import Rejected
from ingest.markers import read_marker
from ingest.models import DeadLetter
from ingest.reconciliation_state import is_stored
from istore import blobs
from istore.models import Project


def erase_dead_letters(project: Project, carried: Carried) -> int:
    """Remove the dead letters whose inference carries the value, with their blobs.

    A letter that was replayed may have become a record. Then its blobs are the record's, which
    carries the value no more, and only the letter goes. Returns how many were removed.
    """
    rows = DeadLetter.objects.filter(metadata_storage_key__startswith=f"{project.pk}/")
    went = 0
    for row in rows.order_by("pk").iterator(500):
        if _carries(row.metadata_storage_key, carried):
            folder = row.metadata_storage_key.rpartition("/")[0]
            if not _is_stored(row, folder):
                # The marker goes last: after a crash it still says what the event has.
                blobs.delete(f"{folder}/{kind}" for kind in (blobs.INPUT, blobs.ANSWER))
                blobs.delete([row.metadata_storage_key])
            row.delete()
            went += 1
    return went


def _is_stored(row: DeadLetter, folder: str) -> bool:
    """Return whether a record names the blobs of a dead letter."""
    model_key = row.metadata_storage_key.split("/")[1]
    model = RegisteredModel.objects.filter(pk=int(model_key)).first()
    return model is not None and is_stored(model, folder, row.inference_id)


def _carries(key: str, carried: Carried) -> bool:
    try:
        marker = read_marker(blobs.get(key))
    except (FileNotFoundError, Rejected):
        return False
    if carried.is_source and marker.get("data_source") == carried.value:
        return True
    return carried.is_among(marker.get("metadata"))
