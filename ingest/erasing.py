"""Erasure of dead letters: the markers of set-aside events hold metadata, too."""

from __future__ import annotations

import re

from django.db import transaction

from inferences.erasure.matching_records import Carried
from inferences.maintenance.orphan_blobs import named_among
from inferences.models import InferenceKey, RegisteredModel
from ingest.dead_letters import with_inputs_of_letters
from ingest.errors import Rejected
from ingest.events import InferenceEvent
from ingest.markers import read_event_of, read_marker
from ingest.models import DeadLetter
from ingest.reconciliation_state import is_stored
from istore import blobs
from istore.blobs import packs
from istore.models import Project

OTHER_ID = re.compile("~[0-9a-f]{8}$")  # as ``reconciliation_state.id_of_other`` adds


def erase_dead_letters(project: Project, carried: Carried) -> int:
    """Remove the dead letters whose inference carries the value, with their blobs.

    A letter that was replayed may have become a record. Then its blobs are the record's, which
    carries the value no more, and only the letter goes. Returns how many were removed.
    """
    rows = DeadLetter.objects.filter(metadata_storage_key__startswith=f"{project.pk}/")
    keys = rows.order_by("pk").values_list("pk", flat=True)
    return sum(_erase(key, carried) for key in keys.iterator(500))


def erase_letters_of(model: RegisteredModel, row_ids: list[int]) -> int:
    """Remove the letters that were replayed and became these records; return how many.

    Their blobs are those of the records, and tell nothing of them any more once these are gone.
    """
    keys = InferenceKey.objects.filter(registered_model=model, row_id__in=row_ids)
    names = set(keys.values_list("inference_id", flat=True))
    names |= {OTHER_ID.sub("", name) for name in names}
    replayed = DeadLetter.objects.exclude(replayed_at=None).filter(
        metadata_storage_key__startswith=f"{model.project_id}/{model.pk}/",
        inference_id__in=names,
    )
    return replayed.delete()[0]


def _erase(key: int, carried: Carried) -> int:
    """Remove one letter, and those of the same marker, if it carries the value.

    Objects of their own go first, without a lock, as the object store may take its time. Members
    of packs are deleted under the lock of the letter: it holds off whoever would point the letter
    at another pack meanwhile. The marker goes last: after a crash it still says what the event
    has.
    """
    row = DeadLetter.objects.filter(pk=key).first()
    if row is None or not _carries(row.metadata_storage_key, carried):
        return 0
    try:
        own = [each for each in _blobs_of(row) if not packs.is_member(each)]
    except Rejected:  # its event cannot be read: it is left to people
        return 0
    for each in own:
        blobs.delete([each])
    with transaction.atomic():
        row = DeadLetter.objects.select_for_update().filter(pk=key).first()
        if row is None:
            return 0
        marker = row.metadata_storage_key
        if packs.is_member(marker):
            for each in filter(packs.is_member, _blobs_of(row)):
                blobs.delete([each])
        return DeadLetter.objects.filter(metadata_storage_key=marker).delete()[0]


def _blobs_of(row: DeadLetter) -> list[str]:
    """Return the keys of the blobs of a dead letter that no record names, its marker last."""
    event = _event_of(row)
    model = RegisteredModel.objects.filter(pk=_model_key(row)).first()
    copy = blobs.copy_name(event.inference_storage_key)
    if model is not None and is_stored(model, copy, event.inference_id):
        return []
    keys = {event.data_storage_key, event.inference_storage_key}
    named = named_among(model, sorted(keys)) if model is not None else set()
    return [*sorted(filter(None, keys - named)), row.metadata_storage_key]


def _event_of(row: DeadLetter) -> InferenceEvent:
    key = row.metadata_storage_key
    return with_inputs_of_letters([read_event_of(read_marker(blobs.get(key)), key)])[0]


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
