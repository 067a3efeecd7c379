"""Erasure of dead letters: the markers of set-aside events hold metadata, too."""

from __future__ import annotations

from dataclasses import replace

from inferences.erasure.matching_records import Carried
from inferences.maintenance.orphan_blobs import named_among
from inferences.models import RegisteredModel
from ingest.errors import Rejected
from ingest.events import InferenceEvent
from ingest.markers import read_event_of, read_marker
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
        if not _carries(row.metadata_storage_key, carried):
            continue
        try:
            _delete_blobs(row)
        except Rejected:  # its event cannot be read: it is left to people
            continue
        row.delete()
        went += 1
    return went


def _delete_blobs(row: DeadLetter) -> None:
    """Delete the blobs of a dead letter that no record names."""
    event = _event_of(row)
    model = RegisteredModel.objects.filter(pk=_model_key(row)).first()
    copy = blobs.copy_name(event.inference_storage_key)
    if model is not None and is_stored(model, copy, event.inference_id):
        return
    keys = {event.data_storage_key, event.inference_storage_key}
    named = named_among(model, sorted(keys)) if model is not None else set()
    # The marker goes last: after a crash it still says what the event has.
    blobs.delete(keys - named)
    blobs.delete([row.metadata_storage_key])


def _event_of(row: DeadLetter) -> InferenceEvent:
    """Return the event as it was set aside, or as its marker has it where that says another.

    Only the letter knows where an input went whose pack was rewritten.
    """
    key = row.metadata_storage_key
    written = read_event_of(read_marker(blobs.get(key)), key)
    try:
        event = InferenceEvent.from_json(bytes(row.payload))
    except ValueError:
        return written
    moved = replace(written, data_storage_key=event.data_storage_key)
    hour = written.data_storage_key.split("/")[:6]
    return moved if event.data_storage_key.split("/")[:6] == hour else written


def _model_key(row: DeadLetter) -> int:
    return int(row.metadata_storage_key.split("/")[1])


def _carries(key: str, carried: Carried) -> bool:
    try:
        marker = read_marker(blobs.get(key))
    except (FileNotFoundError, Rejected):
        return False
    if carried.is_source and marker.get("data_source") == carried.value:
        return True
    return carried.is_among(marker.get("metadata"))
